package control

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// The phases of a service as a whole, in its status.
const (
	phasePending  = "pending"
	phaseReady    = "ready"
	phaseFailed   = "failed"
	phaseDeleting = "deleting"
)

// statusOf says what the leader sees of a service. It is a function
// of its arguments: equal ones give an equal status, so that nothing is written
// while nothing changes.
func statusOf(s *service, o scheduler.Observed, url func(wadi.Service) string, events []wadi.Event) wadi.Status {
	st := wadi.Status{
		Service: s.Service.Name, Generation: s.Generation, URL: url(s.Service),
		Traffic: trafficStatus(s, url), Events: events,
	}
	for _, r := range s.Revisions {
		st.Revisions = append(st.Revisions, revisionStatus(s, r, o))
	}
	newest := s.state(s.Latest)
	st.Rollout = scheduler.RolloutStatus(s.desired(), o, s.Status.Rollout)
	st.Phase = phaseOf(s, newest)
	st.Conditions = conditionsOf(s, newest, o)
	keepSince(st.Conditions, s.Status.Conditions, o.Now.UTC())
	return st
}

func phaseOf(s *service, newest wadi.RevisionState) string {
	switch {
	case s.Deleting:
		return phaseDeleting
	case newest.Phase == wadi.Failed:
		return phaseFailed
	case newest.Phase == wadi.Pending || newest.Phase == "" || !s.programmed && !s.foreign:
		return phasePending // Ready is what callers get through to.
	}
	return phaseReady
}

// state is what is remembered of a revision. A failed revision that is to be tried again
// is pending at once, before the store has it: the status must not say that it failed.
func (s *service) state(revision string) wadi.RevisionState {
	rs := s.State.Revisions[revision]
	if rs.TriedAgain(s.Attempt) && (revision == s.Latest || scheduler.Named(s.Service, revision)) {
		rs = wadi.RevisionState{Phase: wadi.Pending}
	}
	return rs
}

// jobIndex is at which index the revision's job was last known to be as it was stored, by
// the status that is stored; 0: at none.
func (s *service) jobIndex(revision string) uint64 {
	for i := range s.Status.Revisions {
		if r := &s.Status.Revisions[i]; r.ID == revision {
			return r.JobIndex
		}
	}
	return 0
}

// trafficStatus says where requests go now, where they are to go, and where a tag's are sent
// to.
func trafficStatus(s *service, url func(wadi.Service) string) []wadi.TargetStatus {
	var out []wadi.TargetStatus
	for _, t := range s.Route.Targets {
		target := wadi.TargetStatus{Revision: t.Revision, Percent: float64(t.Weight) / 100, Tag: t.Tag}
		if t.Tag != "" {
			tagged := s.Service
			tagged.Name = wadi.TagName(t.Tag, s.Service.Name)
			target.URL = url(tagged)
		}
		out = append(out, target)
	}
	for _, t := range s.wantedTargets() {
		i := slices.IndexFunc(out, func(o wadi.TargetStatus) bool { return o.Revision == t.Revision && o.Tag == t.Tag })
		if i < 0 {
			i, out = len(out), append(out, wadi.TargetStatus{Revision: t.Revision, Tag: t.Tag})
		}
		out[i].Wanted = float64(t.Weight) / 100
	}
	return out
}

// wantedTargets are the targets that the service has once all that they name is ready, and
// its rollout done.
func (s *service) wantedTargets() []wadi.RouteTarget {
	if s.Deleting {
		return nil
	}
	return scheduler.RouteOf(s.Service, s.Latest, s.Revisions, s.State.Revisions).Targets
}

func revisionStatus(s *service, r wadi.Revision, o scheduler.Observed) wadi.RevisionStatus {
	rs := s.state(r.ID)
	in := o.Instances[r.ID]
	out := wadi.RevisionStatus{ID: r.ID, Phase: rs.Phase, Reason: rs.Reason, Created: r.Created, Images: r.Images, JobIndex: s.jobIndex(r.ID), Exits: s.notes(r.ID).exits.exitStatus()}
	if job := o.Jobs[r.ID]; job.Exists && job.Index <= o.Adopted[r.ID] {
		out.JobIndex = job.Index
	}
	out.Percent, out.Wanted = percentOf(s.Route.Targets, r.ID), percentOf(s.wantedTargets(), r.ID)
	if rs.Phase == wadi.Pending || rs.Phase == wadi.Ready && in.Ready == 0 {
		out.Reason = cmp.Or(in.Diagnosis, in.UnreadyReason)
	}
	if rs.Phase == wadi.Ready || rs.Phase == wadi.Retired {
		out.Reason = cmp.Or(out.Reason, rs.Rejected)
	}
	out.Prefetch = rs.Prefetch
	if scheduler.AwaitsImages(&s.Service, s.Latest, r.ID, rs) {
		out.Prefetching, out.Prefetch = true, o.Prefetch[r.ID].String()
		if in.Alive == 0 {
			out.Reason = prefetchText(o.Prefetch[r.ID])
		}
	}
	if in.Alive == 0 && in.Stopping > 0 && rs.Phase != wadi.Failed {
		out.Reason = endingText(in)
	}
	if rs.Phase == wadi.Pending && !rs.Since.IsZero() && (r.ID == s.Latest || scheduler.Named(s.Service, r.ID)) {
		out.Until = scheduler.FailsAt(r, rs, o).UTC().Truncate(time.Second)
	}
	return out
}

// percentOf is a revision's share of targets.
func percentOf(targets []wadi.RouteTarget, revision string) float64 {
	return float64(wadi.WeightOf(targets, revision)) / 100
}

// prefetchText says that a revision waits for its images.
func prefetchText(p scheduler.Prefetch) string { return "prefetch: " + p.String() }

// endingText says what instances that end wait for.
func endingText(in scheduler.Instances) string {
	text := wadi.Quantity(in.Stopping, "instance") + wadi.Plural(in.Stopping, " ends", " end")
	if in.DrainReason != "" {
		text += ", " + in.DrainReason
	}
	return text
}

// keepSince carries over since when a condition holds.
func keepSince(now, before []wadi.Condition, at time.Time) {
	for i := range now {
		now[i].Since = at
		for _, b := range before {
			if b.Type == now[i].Type && b.OK == now[i].OK && b.Reason == now[i].Reason {
				now[i].Since = b.Since
			}
		}
	}
}

// equalStatus compares what people can see.
func equalStatus(a, b wadi.Status) bool {
	if len(a.Events) != len(b.Events) || len(a.Events) > 0 && !a.Events[len(a.Events)-1].Time.Equal(b.Events[len(b.Events)-1].Time) {
		return false
	}
	if len(a.Conditions) != len(b.Conditions) {
		return false
	}
	for i := range a.Conditions {
		x, y := a.Conditions[i], b.Conditions[i]
		x.Since, y.Since = time.Time{}, time.Time{}
		if x != y {
			return false
		}
	}
	return a.Service == b.Service && reflect.DeepEqual(a.Rollout, b.Rollout) && a.Generation == b.Generation && a.URL == b.URL && a.Phase == b.Phase &&
		reflect.DeepEqual(a.Revisions, b.Revisions) && slices.Equal(a.Traffic, b.Traffic)
}
