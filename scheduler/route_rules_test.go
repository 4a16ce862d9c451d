package scheduler_test

import (
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// A rule's revision counts as routed: its job comes back before the rule holds, it is never
// forgotten, and retires again when no rule leads to it.
func TestPlan_Rules(t *testing.T) {
	w := threeRevisions(t)
	w.d.Service.Retention.Keep = 0
	w.d.Service.Routes = []wadi.RouteRule{{Name: "v1", Match: wadi.RuleMatch{PathPrefix: "/v1"}, Revision: r1}}
	acts := scheduler.Plan(w.d, w.o)
	if len(acts) < 1 || acts[0].Kind != scheduler.PutBack || acts[0].Revision != r1 {
		t.Fatalf("plan %+v, want the job put back first", acts)
	}
	for _, a := range acts {
		if a.Kind == scheduler.PutRoute || a.Kind == scheduler.ForgetRevision && a.Revision == r1 {
			t.Fatalf("plan %+v: the rule holds before its revision has a job, or it is forgotten", acts)
		}
	}
	if why := w.trafficPending(); why != `the routes stay as they were: the job of hello-00001, to which route "v1" leads, is not back in Nomad yet` {
		t.Errorf("pending: %q", why)
	}
	w.settle(t)
	if len(w.o.Route.Rules) != 1 || !scheduler.Targeted(w.o.Route, r1) || w.o.Route.Revisions[r1].Failed != "" || !w.o.Jobs[r1].Exists || w.trafficPending() != "" {
		t.Fatalf("route %+v, job %+v, pending %q", w.o.Route, w.o.Jobs[r1], w.trafficPending())
	}
	w.wantTargets(t, "10000 "+r3)
	w.d.Service.Routes = nil
	w.settle(t)
	if w.o.Jobs[r1].Exists || len(w.o.Route.Rules) != 0 {
		t.Errorf("job %+v, rules %+v: want neither", w.o.Jobs[r1], w.o.Route.Rules)
	}
}

// A rule that leads to a tag follows it; without the tag the rules stay as they were.
func TestPlan_RulesFollowTags(t *testing.T) {
	w := threeRevisions(t)
	w.d.Service.Traffic = share("100 latest", "0 hello-00001 old")
	w.d.Service.Routes = []wadi.RouteRule{{Name: "old", Match: wadi.RuleMatch{PathPrefix: "/old"}, Tag: "old"}}
	w.settle(t)
	leads := func() string { return w.o.Route.Rules[0].Revision }
	if leads() != r1 {
		t.Fatalf("leads to %s, want %s", leads(), r1)
	}
	w.d.Service.Traffic = share("100 latest", "0 hello-00002 old")
	w.settle(t)
	if leads() != r2 {
		t.Fatalf("leads to %s, want %s", leads(), r2)
	}
	w.d.Service.Traffic = share("100 latest")
	w.settle(t)
	if leads() != r2 || w.trafficPending() != `the routes stay as they were: no target of the traffic has the tag "old" of route "old" yet` {
		t.Errorf("leads to %s, pending %q", leads(), w.trafficPending())
	}
}
