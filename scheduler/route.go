package scheduler

import (
	"fmt"
	"slices"

	"github.com/wadi-run/wadi"
)

// planRoute is [RouteOf], but keeps the current targets while the traffic may not move yet:
// callers do not notice a revision that does not become ready, or has too few instances for
// the load that it is to take over.
func planRoute(d Desired, o Observed, want []wadi.RouteTarget, state map[string]wadi.RevisionState, load demand) wadi.Route {
	if len(o.Route.Targets) > 0 {
		if _, bad := waitsFor(o.Route.Targets, state); !bad {
			if _, waits := waitsFor(want, state); waits {
				want = o.Route.Targets
			} else {
				want = asFar(&o, want, state, load)
			}
		}
	}
	return routeTo(want, planRules(d, o, want, state), d.Service, d.Revisions, state)
}

// asFar are the targets on the way to want that the revisions can take now. As a rule weights
// move as a whole or not at all; in part, as far as there are instances, only if no node fits
// more of them before others end, or if a revision that has some must not keep it.
func asFar(o *Observed, want []wadi.RouteTarget, state map[string]wadi.RevisionState, load demand) []wadi.RouteTarget {
	now := o.Route.Targets
	lacks := load.lacking(o, now, want)
	switch {
	case len(lacks) == 0, isBroken(now, state):
		return want
	case !inHurry(o, now, want, lacks, state):
		return now
	}
	weights, had := wadi.Weights(want), wadi.Weights(now)
	moved := 0
	for _, l := range lacks {
		in := o.Instances[l.revision]
		weights[l.revision] = min(weights[l.revision], max(had[l.revision], load.capacity(&in)))
	}
	for id, w := range weights {
		moved += max(0, w-had[id])
	}
	if moved < leastPart {
		return now
	}
	return partly(now, want, weights)
}

// isBroken reports whether a revision with traffic can't answer at all.
func isBroken(targets []wadi.RouteTarget, state map[string]wadi.RevisionState) bool {
	return slices.ContainsFunc(targets, func(t wadi.RouteTarget) bool {
		return t.Weight > 0 && state[t.Revision].StartFailure != ""
	})
}

// inHurry reports whether weights are to move even in part.
func inHurry(o *Observed, now, want []wadi.RouteTarget, lacks []lack, state map[string]wadi.RevisionState) bool {
	for _, t := range now {
		if t.Weight > 0 && state[t.Revision].Rejected != "" && wadi.WeightOf(want, t.Revision) == 0 {
			return true
		}
	}
	return slices.ContainsFunc(lacks, func(l lack) bool {
		in := o.Instances[l.revision]
		return in.Ready > 0 && in.noPlace()
	})
}

// partly are the targets of want with the smaller weights that its revisions can take; what
// is left stays where it is, with the revisions that are to lose it.
func partly(now, want []wadi.RouteTarget, weights map[string]int) []wadi.RouteTarget {
	out := slices.Clone(want)
	left := 0
	for i := len(out) - 1; i >= 0; i-- {
		t := &out[i]
		if over := wadi.WeightOf(out, t.Revision) - weights[t.Revision]; over > 0 {
			less := min(over, t.Weight)
			t.Weight -= less
			left += less
		}
	}
	for _, t := range now {
		stays := min(left, max(0, wadi.WeightOf(now, t.Revision)-wadi.WeightOf(out, t.Revision)))
		if stays == 0 {
			continue
		}
		left -= stays
		if i := slices.IndexFunc(out, func(have wadi.RouteTarget) bool { return have.Revision == t.Revision && have.Tag == "" }); i >= 0 {
			out[i].Weight += stays
		} else {
			out = append(out, wadi.RouteTarget{Revision: t.Revision, Weight: stays})
		}
	}
	return out
}

// RouteOf is the route of a service whose revisions have these phases.
func RouteOf(svc wadi.Service, latest string, revs []wadi.Revision, state map[string]wadi.RevisionState) wadi.Route {
	targets := targetsOf(svc, latest, revs, state, nil)
	rules, _ := rulesOf(svc, targets, state)
	return routeTo(targets, rules, svc, revs, state)
}

// waitsFor finds a target that can't take its traffic yet: a revision that is not ready,
// or, if it has a tag only, one without a job. A caller of a tag may wait for the
// revision, or get the reason why it failed.
func waitsFor(targets []wadi.RouteTarget, state map[string]wadi.RevisionState) (revision string, waits bool) {
	for _, t := range targets {
		p := state[t.Revision].Phase
		if t.Weight > 0 && p != wadi.Ready || p == wadi.Retired {
			return t.Revision, true
		}
	}
	return "", false
}

// targetsOf resolves the service's traffic. The target "latest" is the newest revision
// that became ready and was not rejected. If there is none yet, it is the newest that may
// still become ready, so that callers wait instead of getting an error. While a rollout is
// under way it is the revisions that share it; its tag is the new one's from the start, so
// that the new one can be tried by its tag before it has much of the traffic. Targets without
// a tag that resolve to the same revision are merged.
func targetsOf(svc wadi.Service, latest string, revs []wadi.Revision, state map[string]wadi.RevisionState, rollout *wadi.RolloutState) []wadi.RouteTarget {
	var targets []wadi.RouteTarget
	add := func(next wadi.RouteTarget) {
		same := slices.IndexFunc(targets, func(have wadi.RouteTarget) bool {
			return next.Tag == "" && have.Tag == "" && have.Revision == next.Revision
		})
		if same >= 0 {
			targets[same].Weight += next.Weight
			return
		}
		targets = append(targets, next)
	}
	for _, t := range svc.Traffic {
		next := wadi.RouteTarget{Revision: t.Revision, Weight: wadi.WeightOfPercent(t.Percent), Tag: t.Tag}
		switch {
		case next.Revision != wadi.Latest:
			add(next)
		case rollout.Underway():
			for i, weight := range split(next.Weight, rollout.Shares) {
				leg := wadi.RouteTarget{Revision: rollout.Shares[i].Revision, Weight: weight}
				if i == 0 {
					leg.Tag = t.Tag
				}
				if leg.Weight > 0 || leg.Tag != "" {
					add(leg)
				}
			}
		default:
			next.Revision = latestReady(latest, revs, state)
			add(next)
		}
	}
	return targets
}

func latestReady(latest string, revs []wadi.Revision, state map[string]wadi.RevisionState) string {
	ready, rejected, pending := wadi.Revision{}, wadi.Revision{}, wadi.Revision{}
	for _, r := range revs {
		switch s := state[r.ID]; {
		case s.Servable() && s.Rejected != "":
			if r.Number > rejected.Number {
				rejected = r
			}
		case s.Servable():
			if r.Number > ready.Number {
				ready = r
			}
		case s.Phase == wadi.Pending:
			if r.Number > pending.Number {
				pending = r
			}
		}
	}
	switch {
	case ready.ID != "":
		return ready.ID
	case rejected.ID != "": // Better than none.
		return rejected.ID
	case pending.ID != "":
		return pending.ID
	}
	return latest
}

func routeTo(targets []wadi.RouteTarget, rules []wadi.RouteRule, svc wadi.Service, revs []wadi.Revision, state map[string]wadi.RevisionState) wadi.Route {
	route := wadi.Route{
		Service: svc.Name, Namespace: svc.Namespace, Protocol: svc.Protocol,
		Visibility: svc.Visibility, Domains: svc.Domains, Mesh: svc.Mesh,
		Intentions: svc.Intentions, ThroughActivator: svc.Scale.BurstCapacity != 0,
		Sticky: svc.Sticky, Mirror: svc.Mirror,
		Targets: targets, Rules: rules, Revisions: map[string]wadi.RouteRevision{},
	}
	off, envoy := false, false
	for _, r := range revs {
		targeted := Targeted(route, r.ID)
		off = off || targeted && r.Spec.Mesh == wadi.MeshOff
		envoy = envoy || targeted && r.Spec.Mesh == wadi.MeshEnvoy
		if p := state[r.ID].Phase; targeted || p == wadi.Ready || p == wadi.Pending {
			route.Revisions[r.ID] = routeRevisionOf(r, svc, state[r.ID])
		}
	}
	switch {
	case envoy: // Mesh callers reach a target outside the mesh through an activator.
		route.Mesh = wadi.MeshEnvoy
	case off:
		route.Mesh = wadi.MeshOff
	}
	return route
}

// Targeted reports whether a target or a rule of the route names the revision.
func Targeted(route wadi.Route, revision string) bool {
	return among(route.Targets, revision) || ruled(route.Rules, revision)
}

func among(targets []wadi.RouteTarget, revision string) bool {
	return slices.ContainsFunc(targets, func(t wadi.RouteTarget) bool { return t.Revision == revision })
}

// Named reports whether the service's traffic or one of its rules names the revision itself.
func Named(svc wadi.Service, revision string) bool {
	return ruled(svc.Routes, revision) || slices.ContainsFunc(svc.Traffic, func(t wadi.TrafficTarget) bool { return t.Revision == revision })
}

// Routed reports whether the revision is to have instances: it has, or is to have, a share
// of the traffic, a tag or a rule, or it is the latest and may still become ready.
func Routed(svc *wadi.Service, route *wadi.Route, revision, latest string, phase wadi.Phase) bool {
	return phase != wadi.Failed &&
		(Targeted(*route, revision) || Named(*svc, revision) || revision == latest && phase == wadi.Pending)
}

// TrafficPending says why the traffic is not as it was submitted, or as its rollout has it;
// empty: it is.
func TrafficPending(d Desired, o Observed) string {
	d.Revisions = byNumber(d.Revisions)
	state, route := d.State.Revisions, o.Route
	want := targetsOf(d.Service, d.Latest, d.Revisions, state, d.State.Rollout)
	if slices.Equal(want, route.Targets) || len(route.Targets) == 0 {
		return rulesPending(d, o)
	}
	if id, waits := waitsFor(want, state); waits {
		switch s := state[id]; s.Phase {
		case wadi.Failed:
			return fmt.Sprintf("the traffic stays as it was: %s failed: %s", id, s.Reason)
		case wadi.Retired:
			return fmt.Sprintf("the traffic stays as it was until the job of %s is back in Nomad", id)
		default:
			return fmt.Sprintf("the traffic stays as it was until %s is ready", id)
		}
	}
	if lacks := demandOf(&d, &o).lacking(&o, route.Targets, want); len(lacks) > 0 {
		return "the traffic stays as it is until enough instances are ready: " + lacks[0].String()
	}
	return ""
}

// routeRevisionOf is what activators need to know of a revision. Settings that make a
// revision come from the revision; settings that can be changed in place come from the
// service.
func routeRevisionOf(rev wadi.Revision, svc wadi.Service, st wadi.RevisionState) wadi.RouteRevision {
	r := wadi.RouteRevision{
		Timeout:          rev.Spec.Timeout,
		Queue:            wadi.Queue{Depth: svc.Queue.Depth, Timeout: svc.Queue.Timeout, Quiet: rev.Spec.Queue.Quiet},
		ConcurrencyLimit: rev.Spec.ConcurrencyLimit,
		Activation:       svc.Scale.Activation,
		Max:              svc.Scale.Max,
		Mesh:             rev.Spec.Mesh,
		Proof:            rev.Proof,
	}
	if st.Phase == wadi.Failed {
		r.Failed = st.Reason
	}
	return r
}
