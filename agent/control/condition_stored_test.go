package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

// A service that the leader can't read says so in its status, once, and not any more
// when it can be read.
func TestController_ReportsWhatItCantRead(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		stored := func() *wadi.Condition {
			all := c.service("hello").Status.Conditions
			i := slices.IndexFunc(all, func(c wadi.Condition) bool { return c.Type == wadi.ConditionStored })
			if i < 0 {
				return nil
			}
			return &all[i]
		}
		c.mu.Lock()
		c.unloaded = fmt.Errorf("read wadi/spec/hello: %w: written by a newer Wadi", wadi.ErrUnreadable)
		c.mu.Unlock()
		c.submit("hello")
		time.Sleep(time.Minute)
		if got := stored(); got == nil || got.OK || !strings.Contains(got.Message, "newer Wadi") {
			t.Errorf("condition is %+v, want it to say why", got)
		}
		c.mu.Lock()
		if c.statuses != 1 {
			t.Errorf("status was written %d times, want once", c.statuses)
		}
		c.unloaded = nil
		c.mu.Unlock()
		time.Sleep(20 * time.Second)
		if got := stored(); got != nil {
			t.Errorf("condition is %+v when it can be read", got)
		}
		if err := c.edit("hello", func(s *wadi.Stored) {
			s.Unreadable = []string{"read wadi/revision/hello/hello-00000: not understood"}
		}); err != nil {
			t.Fatal(err)
		}
		c.notify("hello")
		time.Sleep(5 * time.Second)
		if got := stored(); got == nil || got.OK || !strings.Contains(got.Message, "hello-00000") {
			t.Errorf("condition is %+v, want it to name the revision", got)
		}
		if got := c.service("hello").Status.Phase; got != "ready" {
			t.Errorf("phase is %s, want ready: nothing needs that revision", got)
		}
	})
}
