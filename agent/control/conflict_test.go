package control_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

// A conflict of a route that is carried all the same is reported, and does not prevent
// zero.
func TestController_ReportsConflicts(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		c.submit("hello")
		time.Sleep(3 * time.Second)
		c.mu.Lock()
		c.foreign = "host shop.test is held by service a" // The route was applied before.
		c.mu.Unlock()
		time.Sleep(40 * time.Second)
		var got wadi.Condition
		for _, cond := range c.service("hello").Status.Conditions {
			if cond.Type == "NetworkProgrammed" {
				got = cond
			}
		}
		if got.OK || got.Reason != "Conflict" || got.Message != "host shop.test is held by service a" {
			t.Errorf("condition is %+v", got)
		}
		if ok, why := l.Wakeable("hello"); !ok {
			t.Errorf("not wakeable: %s", why)
		}
	})
}

// Ready is what callers get through to: not before the network layers carry the route,
// as was read back; and of one that changes, not before they carry the new one.
func TestLeader_NotReadyBeforeTheRouteIsCarried(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		c.mu.Lock()
		c.ignoresRoutes = true
		c.mu.Unlock()
		id := c.submit("hello")
		time.Sleep(10 * time.Second)
		if s := c.service("hello"); s.State.Revisions[id].Phase != wadi.Ready || s.Status.Phase != "pending" {
			t.Errorf("revision is %s, service %s: %+v", s.State.Revisions[id].Phase, s.Status.Phase, s.Status.Conditions)
		}
		c.mu.Lock()
		c.ignoresRoutes = false
		c.mu.Unlock()
		time.Sleep(5 * time.Second)
		if s := c.service("hello"); s.Status.Phase != "ready" {
			t.Errorf("service is %s: %+v", s.Status.Phase, s.Status.Conditions)
		}
	})
}
