package control

import (
	"cmp"
	"fmt"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// ConditionNetwork says whether the network layers carry the route, as was read back: a
// service is not ready before. ReasonConflict: a foreign entry is in the way, and a person
// has to decide.
const (
	ConditionNetwork = "NetworkProgrammed"
	ReasonConflict   = "Conflict"
)

// ConditionRouted says whether the traffic is as it was submitted. ReasonHeld: it is not
// yet, as a revision that is to have some is not ready.
const (
	ConditionRouted = "Routed"
	ReasonHeld      = "Held"
)

// conditionsOf are the conditions of a service, in the order in which they are shown.
func conditionsOf(s *service, newest wadi.RevisionState, o scheduler.Observed) []wadi.Condition {
	all := []wadi.Condition{newestCondition(s, newest, o), routeCondition(s, o)}
	if s.Deleting {
		all = append(drainedCondition(s, o), all...)
	} else {
		all = append(all, servingCondition(s, o))
	}
	all = append(all, networkCondition(s))
	if c, pinned := pinnedCondition(s); pinned {
		all = append(all, c)
	}
	if s.callersKnown {
		all = append(all, callersCondition(s))
	}
	if !s.Deleting {
		all = append(all, instanceConditions(s, o)...)
	}
	all = append(all, domainConditions(s)...)
	if len(s.Unreadable) > 0 {
		all = append(all, storedCondition(s))
	}
	if s.lastError != "" {
		all = append(all, wadi.Condition{Type: "Reconciled", Reason: "Error", Message: s.lastError})
	}
	return all
}

// instanceConditions are made of what the instances do. Most are there only while they
// do not hold.
func instanceConditions(s *service, o scheduler.Observed) (all []wadi.Condition) {
	if c, steady := steadyCondition(s, o.Now); !steady {
		all = append(all, c)
	}
	if usesUsage(s.Service.Scale) {
		all = append(all, usageCondition(s))
	}
	if c, shielded := shieldedCondition(s); !shielded {
		all = append(all, c)
	}
	if c, inTime := drainsCondition(s); !inTime {
		all = append(all, c)
	}
	if c, pinned := imagesCondition(s); !pinned {
		all = append(all, c)
	}
	return all
}

// ConditionDrained says of a deleted service whether its instances have ended.
const ConditionDrained = "Drained"

// drainedCondition is there while some instances have not ended.
func drainedCondition(s *service, o scheduler.Observed) []wadi.Condition {
	for _, r := range s.Revisions {
		if in := o.Instances[r.ID]; in.Stopping > 0 {
			return []wadi.Condition{{Type: ConditionDrained, Reason: "Draining", Message: r.ID + ": " + endingText(in)}}
		}
	}
	return nil
}

func newestCondition(s *service, rs wadi.RevisionState, o scheduler.Observed) wadi.Condition {
	in := o.Instances[s.Latest]
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
		case in.Alive == 0 && scheduler.AwaitsImages(&s.Service, s.Latest, s.Latest, rs):
			c.Reason, c.Message = "Prefetching", fmt.Sprintf("%s: %s", s.Latest, prefetchText(o.Prefetch[s.Latest]))
		case in.Pulling > 0:
			c.Message = fmt.Sprintf("%s is placed and pulls its image", s.Latest)
		case in.Alive > 0 && in.UnreadyReason != "":
			c.Message = fmt.Sprintf("%s is placed and starts: %s", s.Latest, in.UnreadyReason)
		case in.Alive > 0:
			c.Message = fmt.Sprintf("%s is placed and starts", s.Latest)
		}
	}
	return c
}

func routeCondition(s *service, o scheduler.Observed) wadi.Condition {
	c := wadi.Condition{Type: ConditionRouted, OK: len(s.Route.Targets) > 0}
	for _, t := range s.Route.Targets {
		if why := s.Route.Revisions[t.Revision].Failed; why != "" {
			c.OK, c.Reason, c.Message = false, "Failed", fmt.Sprintf("callers get 503: %s: %s", t.Revision, why)
		}
	}
	if c.OK && !s.Deleting {
		if why := scheduler.TrafficPending(s.desired(), o); why != "" {
			c.OK, c.Reason, c.Message = false, ReasonHeld, why
		}
	}
	return c
}

// ConditionServing is the type of the condition that the app answers a service's callers,
// now or once it has started.
const ConditionServing = "Serving"

func servingCondition(s *service, o scheduler.Observed) wadi.Condition {
	state := make(map[string]wadi.RevisionState, len(s.Route.Targets))
	for _, t := range s.Route.Targets {
		state[t.Revision] = s.state(t.Revision)
	}
	reason, message := scheduler.Unavailable(s.Route, state, o.Instances, o.Jobs)
	return wadi.Condition{Type: ConditionServing, OK: reason == "", Reason: reason, Message: message}
}

func networkCondition(s *service) wadi.Condition {
	c := wadi.Condition{Type: ConditionNetwork, OK: s.programmed}
	switch {
	case !s.programmed:
		c.Reason, c.Message = "NotProgrammed", cmp.Or(s.whyNot, "the new route is not known everywhere yet")
		if s.foreign {
			c.Reason = ReasonConflict
		}
	case s.whyNot != "":
		// A person has to decide, but the service can be woken from zero.
		c.OK, c.Reason, c.Message = false, ReasonConflict, s.whyNot
	}
	return c
}
