package scheduler

import (
	"fmt"
	"slices"

	"github.com/wadi-run/wadi"
)

// planRoute is [RouteOf], but keeps the current targets while the traffic may not move yet,
// so callers do not notice a revision that does not become ready.
func planRoute(d Desired, o Observed, want []wadi.RouteTarget, state map[string]wadi.RevisionState) wadi.Route {
	if _, waits := waitsFor(want, state); waits && len(o.Route.Targets) > 0 {
		if _, bad := waitsFor(o.Route.Targets, state); !bad {
			want = o.Route.Targets
		}
	}
	return routeTo(want, d.Service, d.Revisions, state)
}

// RouteOf is the route of a service whose revisions have these phases.
func RouteOf(svc wadi.Service, latest string, revs []wadi.Revision, state map[string]wadi.RevisionState) wadi.Route {
	return routeTo(targetsOf(svc, latest, revs, state), svc, revs, state)
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
// that became ready. If there is none yet, it is the newest that may still become ready,
// so that callers wait instead of getting an error. Targets without a tag that resolve to
// the same revision are merged.
func targetsOf(svc wadi.Service, latest string, revs []wadi.Revision, state map[string]wadi.RevisionState) []wadi.RouteTarget {
	var targets []wadi.RouteTarget
	for _, t := range svc.Traffic {
		next := wadi.RouteTarget{Revision: t.Revision, Weight: int(t.Percent*100 + 0.5), Tag: t.Tag}
		if next.Revision == wadi.Latest {
			next.Revision = latestReady(latest, revs, state)
		}
		same := slices.IndexFunc(targets, func(have wadi.RouteTarget) bool {
			return next.Tag == "" && have.Tag == "" && have.Revision == next.Revision
		})
		if same >= 0 {
			targets[same].Weight += next.Weight
			continue
		}
		targets = append(targets, next)
	}
	return targets
}

func latestReady(latest string, revs []wadi.Revision, state map[string]wadi.RevisionState) string {
	ready, pending := wadi.Revision{}, wadi.Revision{}
	for _, r := range revs {
		switch s := state[r.ID]; {
		case s.Phase == wadi.Ready, s.Phase == wadi.Retired && s.WasReady:
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
	case pending.ID != "":
		return pending.ID
	}
	return latest
}

func routeTo(targets []wadi.RouteTarget, svc wadi.Service, revs []wadi.Revision, state map[string]wadi.RevisionState) wadi.Route {
	route := wadi.Route{
		Service: svc.Name, Namespace: svc.Namespace, Protocol: svc.Protocol,
		Visibility: svc.Visibility, Domains: svc.Domains, Mesh: svc.Mesh,
		Intentions: svc.Intentions, ThroughActivator: svc.Scale.BurstCapacity != 0,
		Sticky: svc.Sticky, Mirror: svc.Mirror,
		Targets: targets, Revisions: map[string]wadi.RouteRevision{},
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

// Targeted reports whether a target of the route names the revision.
func Targeted(route wadi.Route, revision string) bool { return among(route.Targets, revision) }

func among(targets []wadi.RouteTarget, revision string) bool {
	return slices.ContainsFunc(targets, func(t wadi.RouteTarget) bool { return t.Revision == revision })
}

// Named reports whether the service's traffic names the revision itself.
func Named(svc wadi.Service, revision string) bool {
	return slices.ContainsFunc(svc.Traffic, func(t wadi.TrafficTarget) bool { return t.Revision == revision })
}

// Routed reports whether the revision is to have instances: it has, or is to have, a share
// of the traffic or a tag, or it is the latest and may still become ready.
func Routed(svc *wadi.Service, route *wadi.Route, revision, latest string, phase wadi.Phase) bool {
	return phase != wadi.Failed &&
		(Targeted(*route, revision) || Named(*svc, revision) || revision == latest && phase == wadi.Pending)
}

// TrafficPending says why the traffic is not as it was submitted; empty: it is.
func TrafficPending(svc wadi.Service, latest string, revs []wadi.Revision, state map[string]wadi.RevisionState, route wadi.Route) string {
	want := targetsOf(svc, latest, revs, state)
	if slices.Equal(want, route.Targets) || len(route.Targets) == 0 {
		return ""
	}
	id, waits := waitsFor(want, state)
	switch s := state[id]; {
	case !waits:
		return ""
	case s.Phase == wadi.Failed:
		return fmt.Sprintf("the traffic stays as it was: %s failed: %s", id, s.Reason)
	case s.Phase == wadi.Retired:
		return fmt.Sprintf("the traffic stays as it was until the job of %s is back in Nomad", id)
	default:
		return fmt.Sprintf("the traffic stays as it was until %s is ready", id)
	}
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
