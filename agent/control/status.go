package control

import (
	"cmp"
	"fmt"
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

// ConditionNetwork says whether the network layers carry the route, as was read back:
// a service is not ready before. ReasonConflict is
// why not where somebody has to decide: what is in the way is somebody else's.
const (
	ConditionNetwork = "NetworkProgrammed"
	ReasonConflict   = "Conflict"
)

// ConditionRouted says whether the traffic goes where it was submitted to go.
// ReasonHeld is why not while a revision that is to have some is not ready.
const (
	ConditionRouted = "Routed"
	ReasonHeld      = "Held"
)

// statusOf says for people what the leader sees of a service. It is a function
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
	switch {
	case s.Deleting:
		st.Phase = phaseDeleting
	case newest.Phase == wadi.Failed:
		st.Phase = phaseFailed
	case newest.Phase == wadi.Pending || newest.Phase == "" || !s.programmed && !s.barred:
		st.Phase = phasePending // Ready is what callers get through to.
	default:
		st.Phase = phaseReady
	}
	st.Conditions = []wadi.Condition{
		newestCondition(s, newest, o.Instances[s.Latest]),
		routeCondition(s),
	}
	if s.Deleting {
		st.Conditions = append(drainedCondition(s, o), st.Conditions...)
	} else {
		st.Conditions = append(st.Conditions, servingCondition(s, o))
	}
	st.Conditions = append(st.Conditions, meshCondition(s, o))
	if s.callersKnown {
		st.Conditions = append(st.Conditions, callersCondition(s))
	}
	if steady, ok := steadyCondition(s, o.Now); !ok && !s.Deleting {
		st.Conditions = append(st.Conditions, steady)
	}
	if usesUsage(s.Service.Scale) && !s.Deleting {
		st.Conditions = append(st.Conditions, usageCondition(s))
	}
	if len(s.exposed) > 0 && !s.Deleting {
		st.Conditions = append(st.Conditions, shieldedCondition(s))
	}
	if len(s.limited) > 0 && !s.Deleting {
		st.Conditions = append(st.Conditions, drainsCondition(s))
	}
	if len(s.Unreadable) > 0 {
		st.Conditions = append(st.Conditions, storedCondition(s))
	}
	if s.problem != "" {
		st.Conditions = append(st.Conditions, wadi.Condition{Type: "Reconciled", Reason: "Error", Message: s.problem})
	}
	keepSince(st.Conditions, s.Status.Conditions, o.Now.UTC())
	return st
}

// state is what is remembered of a revision, and pending of one that is to be tried
// again as soon as the store takes it: who has asked for that must not read that it
// has failed.
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

// trafficStatus says where requests go now, and where a tag's are sent to.
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
	return out
}

func revisionStatus(s *service, r wadi.Revision, o scheduler.Observed) wadi.RevisionStatus {
	rs := s.state(r.ID)
	in := o.Instances[r.ID]
	out := wadi.RevisionStatus{ID: r.ID, Phase: rs.Phase, Reason: rs.Reason, Created: r.Created, JobIndex: s.jobIndex(r.ID), Exits: s.exits[r.ID].told()}
	if job := o.Jobs[r.ID]; job.Exists && job.Index <= o.Adopted[r.ID] {
		out.JobIndex = job.Index
	}
	weight := 0
	for _, t := range s.Route.Targets {
		if t.Revision == r.ID {
			weight += t.Weight
		}
	}
	out.Percent = float64(weight) / 100
	if rs.Phase == wadi.Pending || rs.Phase == wadi.Ready && in.Ready == 0 {
		out.Reason = cmp.Or(in.Diagnosis, in.UnreadyReason)
	}
	if in.Alive == 0 && in.Stopping > 0 && rs.Phase != wadi.Failed {
		out.Reason = ending(in)
	}
	if rs.Phase == wadi.Pending && !rs.Since.IsZero() && (r.ID == s.Latest || scheduler.Named(s.Service, r.ID)) {
		out.Until = scheduler.FailsAt(r, rs, o).UTC().Truncate(time.Second)
	}
	return out
}

// ending says what instances that end wait for.
func ending(in scheduler.Instances) string {
	text := wadi.Quantity(in.Stopping, "instance") + wadi.Plural(in.Stopping, " ends", " end")
	if in.DrainReason != "" {
		text += ", " + in.DrainReason
	}
	return text
}

// ConditionDrained says, of a service that is deleted, whether its instances have ended.
const ConditionDrained = "Drained"

// drainedCondition is there while some have not.
func drainedCondition(s *service, o scheduler.Observed) []wadi.Condition {
	for _, r := range s.Revisions {
		if in := o.Instances[r.ID]; in.Stopping > 0 {
			return []wadi.Condition{{Type: ConditionDrained, Reason: "Draining", Message: r.ID + ": " + ending(in)}}
		}
	}
	return nil
}

func newestCondition(s *service, rs wadi.RevisionState, in scheduler.Instances) wadi.Condition {
	c := wadi.Condition{Type: "LatestReady"}
	switch rs.Phase {
	case wadi.Ready, wadi.Retired:
		c.OK = true
	case wadi.Failed:
		c.Reason, c.Message = "Failed", fmt.Sprintf("%s: %s", s.Latest, rs.Reason)
	default:
		c.Reason, c.Message = "Starting", fmt.Sprintf("%s waits for its instances", s.Latest)
		switch {
		case in.Diagnosis != "":
			c.Reason, c.Message = "Blocked", fmt.Sprintf("%s: %s", s.Latest, in.Diagnosis)
		case in.Alive > 0 && in.UnreadyReason != "":
			c.Message = fmt.Sprintf("%s is placed and starts: %s", s.Latest, in.UnreadyReason)
		case in.Alive > 0:
			c.Message = fmt.Sprintf("%s is placed and starts", s.Latest)
		}
	}
	return c
}

func routeCondition(s *service) wadi.Condition {
	c := wadi.Condition{Type: ConditionRouted, OK: len(s.Route.Targets) > 0}
	for _, t := range s.Route.Targets {
		if why := s.Route.Revisions[t.Revision].Failed; why != "" {
			c.OK, c.Reason, c.Message = false, "Failed", fmt.Sprintf("callers get 503: %s: %s", t.Revision, why)
		}
	}
	if c.OK && !s.Deleting {
		if why := scheduler.TrafficPending(s.Service, s.Latest, s.Revisions, s.State.Revisions, s.Route); why != "" {
			c.OK, c.Reason, c.Message = false, ReasonHeld, why
		}
	}
	return c
}

// ConditionServing is the type of the condition that whoever calls a service is
// answered by its app, now or once it has started.
const ConditionServing = "Serving"

func servingCondition(s *service, o scheduler.Observed) wadi.Condition {
	state := make(map[string]wadi.RevisionState, len(s.Route.Targets))
	for _, t := range s.Route.Targets {
		state[t.Revision] = s.state(t.Revision)
	}
	reason, message := scheduler.Unavailable(s.Route, state, o.Instances, o.Jobs)
	return wadi.Condition{Type: ConditionServing, OK: reason == "", Reason: reason, Message: message}
}

func meshCondition(s *service, o scheduler.Observed) wadi.Condition {
	c := wadi.Condition{Type: ConditionNetwork, OK: s.programmed}
	switch {
	case !s.programmed:
		c.Reason, c.Message = "NotProgrammed", cmp.Or(s.whyNot, "the new route is not known everywhere yet")
		if s.barred {
			c.Reason = ReasonConflict
		}
	case s.whyNot != "":
		// Somebody has to decide, but it can be woken from zero.
		c.OK, c.Reason, c.Message = false, ReasonConflict, s.whyNot
	}
	return c
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
	return a.Service == b.Service && a.Generation == b.Generation && a.URL == b.URL && a.Phase == b.Phase &&
		reflect.DeepEqual(a.Revisions, b.Revisions) && slices.Equal(a.Traffic, b.Traffic)
}
