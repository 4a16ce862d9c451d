package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

// A revision that failed for a reason outside of it is tried again when its service
// is submitted again, also by another leader, and serves waiting requests once it is
// ready. The status does not say meanwhile that it has failed.
func TestLeader_TriesAgainWhatFailed(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, _ string, again func() *leader) {
		c.mu.Lock()
		c.cantRun["hello-00002"] = "no database"
		c.mu.Unlock()
		two := c.submit("hello")
		time.Sleep(time.Minute + 5*time.Second)
		wantCount(t, c, two, -1)
		if got := c.service("hello").Status; got.Phase != "failed" {
			t.Fatalf("status %+v, want failed", got)
		}
		before := again()
		time.Sleep(time.Minute)
		wantCount(t, c, two, -1)
		submit := func() {
			c.change1(t, func(s *wadi.Stored) { s.Generation++; s.Attempt = s.Generation })
			c.notify("hello")
		}

		submit()
		time.Sleep(59 * time.Second)
		st := c.service("hello")
		if st.Status.Phase != "pending" || st.Status.Revisions[1].Phase != "pending" || st.Status.Generation != st.Generation {
			t.Fatalf("status %+v, want pending", st.Status)
		}
		time.Sleep(5 * time.Second)
		if got := c.service("hello").Status; got.Phase != "failed" {
			t.Fatalf("status %+v, want failed again", got)
		}

		submit()
		l := again() // Another leader than the one that began it.
		c.mu.Lock()
		delete(c.cantRun, two)
		c.mu.Unlock()
		c.setLoad(two, 5)
		time.Sleep(5 * time.Second)
		if got := c.service("hello"); got.Status.Phase != "ready" || got.Route.Targets[0].Revision != two {
			t.Fatalf("status %+v, route %+v; want %s ready and routed", got.Status, got.Route, two)
		}
		var told []string // By the leader that began it, which may have been either, and by the next.
		for _, e := range append(before.events.Of("hello", time.Now().Add(-10*time.Second)), l.events.Of("hello", time.Time{})...) {
			told = append(told, e.Type)
		}
		if text := strings.Join(told, " "); !strings.Contains(text, "Retried") || !strings.Contains(text, "Ready") {
			t.Errorf("got events %s, want that it is tried again, and ready", text)
		}
	})
}
