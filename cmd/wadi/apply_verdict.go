package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
)

// verdict is how far a submitted service has got.
type verdict struct {
	done   bool
	failed bool
	phase  string
	text   string    // What it waits for, or why it failed.
	until  time.Time // When it fails if it is not ready by then; zero: not known.

	warning string // Only if done.
}

// verdictOf says how far the service v has got towards the submission s.
func verdictOf(s api.SubmittedService, v api.Service) verdict {
	switch {
	case v.Deleting:
		return verdict{done: true, failed: true, phase: "deleting", text: "it was deleted meanwhile"}
	case cmp.Or(v.Applied, v.Generation) > s.Generation:
		return verdict{done: true, failed: true, phase: "pending", text: fmt.Sprintf(
			"another submission has replaced it (generation %d); see wadi service status %s", v.Generation, s.Name)}
	case v.Status.Generation < s.Generation:
		return verdict{phase: "pending", text: "waiting for the leader to start on it"}
	}
	for _, id := range append([]string{s.Revision}, s.Retried...) {
		if rev, _ := revisionOf(v, id); rev.Phase == wadi.Failed {
			return verdict{done: true, failed: true, phase: "failed", text: id + ": " + orDash(rev.Reason)}
		}
	}
	for _, id := range s.Retried {
		if rev, known := revisionOf(v, id); known && rev.Phase == wadi.Pending {
			return verdict{phase: "pending", text: blockedReason(id, v), until: rev.Until}
		}
	}
	rev, known := revisionOf(v, s.Revision)
	switch {
	case v.Status.Phase == string(wadi.Failed):
		return verdict{done: true, failed: true, phase: "failed", text: blockedReason(s.Revision, v)}
	case v.Status.Phase == string(wadi.Ready) && (rev.Phase != wadi.Pending && known || !s.NewRevision):
		if r := v.Status.Rollout; r != nil && r.Revision == s.Revision && r.Phase != wadi.RolloutDone {
			return verdictOfRollout(r)
		}
		return verdictOfReady(v)
	}
	return verdict{phase: "pending", text: blockedReason(s.Revision, v), until: rev.Until}
}

// verdictOfRollout says how far a ready revision's rollout has got.
func verdictOfRollout(r *wadi.RolloutStatus) verdict {
	if r.UnderWay() {
		return verdict{phase: "pending", text: rolloutLine(r, time.Now())}
	}
	text := fmt.Sprintf("the rollout of %s was aborted", r.Revision)
	if r.Phase == wadi.RolloutRolledBack {
		text = fmt.Sprintf("the rollout of %s went back", r.Revision)
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return verdict{done: true, failed: true, phase: "failed", text: text}
}

// verdictOfReady says whether the traffic of a ready service is as it was submitted.
func verdictOfReady(v api.Service) verdict {
	out := verdict{done: true, phase: "ready", text: v.Status.URL}
	for _, c := range v.Status.Conditions {
		switch {
		case c.OK:
		case c.Type == control.ConditionRouted && c.Reason == control.ReasonHeld:
			out = verdict{phase: "pending", text: c.Message}
			if namesFailed(v) {
				out.done, out.failed, out.phase = true, true, "failed"
			}
			return out
		case c.Type == control.ConditionNetwork && c.Reason == control.ReasonConflict:
			out.warning = c.Message
		}
	}
	return out
}

// namesFailed reports whether the traffic names a failed revision: then the route does not
// change any more.
func namesFailed(v api.Service) bool {
	return slices.ContainsFunc(v.Status.Revisions, func(r wadi.RevisionStatus) bool {
		return r.Phase == wadi.Failed && slices.ContainsFunc(v.Service.Traffic, func(t wadi.TrafficTarget) bool { return t.Revision == r.ID })
	})
}

func revisionOf(v api.Service, id string) (rev wadi.RevisionStatus, known bool) {
	i := slices.IndexFunc(v.Status.Revisions, func(r wadi.RevisionStatus) bool { return r.ID == id })
	if i < 0 {
		return rev, false
	}
	return v.Status.Revisions[i], true
}

// blockedReason is the best available reason why a revision is not ready.
func blockedReason(id string, v api.Service) string {
	if rev, _ := revisionOf(v, id); rev.Reason != "" {
		return id + ": " + rev.Reason
	}
	for _, c := range v.Status.Conditions {
		if !c.OK && c.Message != "" {
			return c.Message
		}
	}
	for _, e := range slices.Backward(v.Status.Events) {
		if e.Revision == id && e.Message != "" {
			return e.Message
		}
	}
	return "waiting for " + id
}
