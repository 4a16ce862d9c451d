package agent_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

// What is amiss with a route that is carried all the same is told, and keeps nothing
// from zero.
func TestLeader_ConflictIsToldOnly(t *testing.T) {
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
		if ok, why := l.WayBack("hello"); !ok {
			t.Errorf("no way back: %s", why)
		}
	})
}
