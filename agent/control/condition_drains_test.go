package control_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// The condition names a client that ends instances before their requests may be over, and
// only such a client. It ends once the client is set right.
func TestDrains_LimitIsReported(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		time.Sleep(time.Second)
		id := c.submit("hello")
		c.setLoad(id, 5)
		c.change1(t, func(s *wadi.Stored) { s.Revisions[0].Spec.Timeout.Request = wadi.Duration(5 * time.Minute) })
		for _, step := range []struct {
			limit time.Duration
			told  bool
		}{{0, false}, {30 * time.Second, true}, {0, true}, {310 * time.Second, false}} {
			c.mu.Lock()
			c.killAfter = step.limit
			c.change()
			c.mu.Unlock()
			time.Sleep(40 * time.Second) // Longer than between two rechecks.
			s, err := c.Load(t.Context(), "hello")
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(s.Status.Conditions, func(c wadi.Condition) bool { return c.Type == control.ConditionDrains })
			if step.told != (i >= 0) {
				t.Errorf("limit %v: %+v", step.limit, s.Status.Conditions)
			} else if i >= 0 && !strings.Contains(s.Status.Conditions[i].Message, id+" after 30s, though its requests may take 5m0s") {
				t.Errorf("%+v", s.Status.Conditions[i])
			}
		}
	})
}
