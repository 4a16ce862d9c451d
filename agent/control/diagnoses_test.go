package control_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
)

// What hinders a revision is an event, with the ID that callers got; once, however
// often it comes and goes in turns with others.
func TestLeader_DiagnosisIsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		l, stop := lead(t, c)
		defer stop()
		id := c.submit("hello")
		time.Sleep(10 * time.Second)
		reasons := []string{"task web: Exit Code: 1", "task web: Failed to pull `registry.internal/secret:1`"}
		for range 20 {
			for _, why := range reasons {
				c.mu.Lock()
				c.cantRun[id] = why
				c.change()
				c.mu.Unlock()
				time.Sleep(5 * time.Second)
			}
		}
		all, _, _ := l.Events.Since(0)
		told := map[string]int{}
		for _, e := range all {
			if e.Type != "Blocked" {
				continue
			}
			for _, why := range reasons {
				if strings.Contains(e.Message, why) && strings.Contains(e.Message, wadi.ReasonID(e.Revision, why)) {
					told[why]++
				}
			}
		}
		for _, why := range reasons {
			if told[why] != 1 {
				t.Errorf("%q is %d events, want one", why, told[why])
			}
		}
	})
}
