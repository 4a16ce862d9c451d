package control_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// rules are intentions of others.
type rules struct {
	mu      sync.Mutex
	missing map[string][]string // By service; nil: not known.
	changed chan struct{}
}

var _ control.Callers = (*rules)(nil)

func (r *rules) Missing(service string, public bool) ([]string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.missing[service])
	if !public {
		out = slices.DeleteFunc(out, func(s string) bool { return s == wadi.ServiceGateway })
	}
	return out, r.missing != nil
}

func (r *rules) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *rules) set(missing map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missing = missing
	close(r.changed)
	r.changed = make(chan struct{})
}

// condition returns the condition about callers, and the phase of hello.
func (c *cluster) condition() (*wadi.Condition, string) {
	st := c.service("hello").Status
	for _, cond := range st.Conditions {
		if cond.Type == control.ConditionCallers {
			return &cond, st.Phase
		}
	}
	return nil, st.Phase
}

// resubmit edits what is stored of hello, as a submission would.
func (c *cluster) resubmit(t *testing.T, change func(*wadi.Service)) {
	t.Helper()
	if err := c.edit("hello", func(s *wadi.Stored) { change(&s.Service); s.Generation++ }); err != nil {
		t.Fatal(err)
	}
	c.notify("hello")
}

func TestController_ReportsRefusedCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, in := newCluster(), &rules{changed: make(chan struct{})}
		c.callers = in
		_, end := lead(t, c)
		defer end()
		want := func(when string, want *wadi.Condition) {
			t.Helper()
			time.Sleep(50 * time.Millisecond) // Far less than until the next pass without news.
			synctest.Wait()
			got, phase := c.condition()
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(wadi.Condition{}, "Since")); diff != "" || phase != "ready" {
				t.Errorf("%s: phase %s, condition (-want +got):\n%s", when, phase, diff)
			}
		}
		fine := &wadi.Condition{Type: "CallersAllowed", OK: true}
		synctest.Wait()
		c.submit("hello")
		c.resubmit(t, func(s *wadi.Service) { s.Visibility = wadi.Public })
		time.Sleep(5 * time.Second)
		want("nothing known", nil)
		in.set(map[string][]string{})
		want("all let in", fine)
		in.set(map[string][]string{"hello": {"wadi-activator", "wadi-gateway"}})
		want("denied", &wadi.Condition{Type: "CallersAllowed", Reason: "IntentionMissing",
			Message: `Consul's intentions refuse wadi-activator and wadi-gateway for hello: add { Name = "wadi-activator" Action = "allow" } and { Name = "wadi-gateway" Action = "allow" } to service-intentions hello`})
		c.resubmit(t, func(s *wadi.Service) { s.Visibility = wadi.MeshOnly })
		want("not public", &wadi.Condition{Type: "CallersAllowed", Reason: "IntentionMissing",
			Message: `Consul's intentions refuse wadi-activator for hello: add { Name = "wadi-activator" Action = "allow" } to service-intentions hello`})
		in.set(map[string][]string{"other": {"wadi-activator"}})
		want("let in again", fine)
		in.set(map[string][]string{"hello": {"wadi-activator"}})
		c.resubmit(t, func(s *wadi.Service) { s.Intentions = &wadi.Intentions{} })
		want("Wadi's own", nil)
		c.resubmit(t, func(s *wadi.Service) { s.Intentions, s.Mesh = nil, wadi.MeshOff })
		want("outside the mesh", nil)
	})
}
