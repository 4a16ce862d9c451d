package control_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// A service that is scaled by usage has a condition that says why usage can't be read.
func TestController_ReportsUnreadUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var why atomic.Pointer[string]
		say := func(s string) { why.Store(&s) }
		say("")
		c.unread = func(revision string) string {
			if revision != "hello-00001" {
				t.Errorf("asked of %s", revision)
			}
			return *why.Load()
		}
		_, end := lead(t, c)
		defer end()
		want := func(when string, want []wadi.Condition) {
			t.Helper()
			time.Sleep(35 * time.Second) // Longer than between two rechecks.
			synctest.Wait()
			var got []wadi.Condition
			for _, cond := range c.service("hello").Status.Conditions {
				if cond.Type == control.ConditionUsage {
					got = append(got, cond)
				}
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(wadi.Condition{}, "Since")); diff != "" {
				t.Errorf("%s: (-want +got):\n%s", when, diff)
			}
		}
		c.submit("hello")
		say("no statistics")
		want("scaled by requests", nil)
		c.resubmit(t, func(s *wadi.Service) {
			s.Scale.Metrics = append(s.Scale.Metrics, wadi.MetricTarget{Metric: wadi.CPU, Target: 80, Utilization: 1})
		})
		want("not read", []wadi.Condition{{Type: "UsageKnown", Reason: "NotMeasured",
			Message: "what instances use can't be read, so that no count is lowered: hello-00001: no statistics"}})
		say("")
		want("read", []wadi.Condition{{Type: "UsageKnown", OK: true}})
	})
}
