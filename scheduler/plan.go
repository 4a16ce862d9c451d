package scheduler

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// Desired is what was submitted of one service, and what the leader remembers of it.
type Desired struct {
	Service   wadi.Service
	Latest    string // The newest revision.
	Attempt   uint64 // Revisions that failed at an earlier one are tried again.
	Deleting  bool
	Revisions []wadi.Revision // Every one that is stored.
	State     wadi.State
	Retention Retention // The agent's.
}

// Retention bounds, for all services, how long revisions without traffic are kept.
// Those beyond a service's own retention.keep go when both ages have passed.
type Retention struct {
	KeepFor       time.Duration // Since it was submitted.
	KeepActiveFor time.Duration // Since it last had traffic.
	Max           int           // Of one service, whatever their age; 0 is no bound.
}

// Observed is what Nomad, Consul and the instances say of one service.
type Observed struct {
	Now       time.Time
	Jobs      map[string]JobState  // By revision; a missing one has no job.
	Adopted   map[string]uint64    // The jobs' modify indexes that are known to be ours.
	Checks    map[string]Check     // The latest of each revision's job; a missing one was none.
	Instances map[string]Instances // By revision.
	Wanted    map[string]int       // What the autoscaler last wanted, by revision.
	Began     map[string]time.Time // When a pending revision's time began, without the time in which nobody saw it.

	Route        wadi.Route // As stored; zero: none.
	Programmed   bool       // The network layers carry the stored route, as was read back.
	ProgramTried bool       // They were told to lately: not again in this pass.
	GivenUp      bool       // They can't be made to, or have not been for too long: what waits for them goes on.
	Leftovers    bool       // Network layers still hold something of the service.
}

// Check is a question to Nomad's plan whether a job is still as it was stored.
type Check struct {
	Index   uint64 // Of the job that it is about.
	Drifted bool   // The answer, once there is one.
}

// Instances counts a revision's allocations.
type Instances struct {
	Alive         int    // Placed and not told to stop.
	Stopping      int    // Told to stop and not yet gone.
	Ready         int    // Answering as ready.
	Unknown       bool   // How many are ready is not known: not all were asked yet.
	Diagnosis     string // What Nomad says hinders it; empty: nothing.
	UnreadyReason string // Why those that run are not ready, as they say; empty: nothing is known.

	DrainReason string // What those that end wait for, as they say; empty: nothing is known.

	Since time.Time // Since when it has been in trouble.

	// GivenUp are the problems of the latest instances of this attempt, oldest first,
	// if each ended by an error that Nomad calls unrecoverable.
	GivenUp []string
}

// ActionKind says what an action does.
type ActionKind string

// The actions of the controller.
const (
	NoteStart      ActionKind = "note-start"      // Remember that the revision's start failed for Reason; empty: that one succeeded.
	SetPhase       ActionKind = "set-phase"       // Remember that the revision is in Phase, for Reason.
	PutRoute       ActionKind = "put-route"       // Store Route for every agent.
	Program        ActionKind = "program"         // Make the network layers carry the stored route.
	PutBack        ActionKind = "put-back"        // Register the stored job with Count, guarded by Index.
	CheckDrift     ActionKind = "check-drift"     // Ask Nomad's plan whether the job is still as it was stored. The answer comes as a Check.
	UndoDrift      ActionKind = "undo-drift"      // Register the stored job with Count over one that is not, guarded by Index.
	StopJob        ActionKind = "stop-job"        // Let its instances drain, if the job is still at Index. Nomad forgets those of a purged job at once, so this comes before.
	PurgeJob       ActionKind = "purge-job"       // Make Nomad forget a job without instances, if it is still at Index.
	ForgetRevision ActionKind = "forget-revision" // Remove a revision from the store.
	Unprogram      ActionKind = "unprogram"       // Remove the service from the network layers.
	ForgetService  ActionKind = "forget-service"  // Remove the service from the store.
)

// Action is one step towards what is desired. Steps are carried out in order;
// one that fails ends the pass, and the next pass plans anew.
type Action struct {
	Kind     ActionKind
	Revision string
	Phase    wadi.Phase
	Count    int
	Index    uint64
	Reason   string
	Route    wadi.Route
}

// Plan returns the steps that bring one service closer to what is desired. It is
// level-triggered: it knows nothing of earlier steps, so whoever leads goes on
// where the last one stopped.
func Plan(d Desired, o Observed) []Action {
	d.Revisions = slices.SortedFunc(slices.Values(d.Revisions), func(a, b wadi.Revision) int {
		return cmp.Compare(a.Number, b.Number)
	})
	if d.Deleting {
		return planDelete(d, o)
	}
	acts, state := planPhases(d, o)
	acts = append(acts, planStarts(d, o, state)...)
	want := targetsOf(d.Service, d.Latest, d.Revisions, state)
	route := planRoute(d, o, want, state)
	moves := !reflect.DeepEqual(route, o.Route)
	// A revision that the route comes to name has its job before; one that it no
	// longer names keeps its job until then, and one that took traffic until the mesh
	// carries the new route: callers may still be led to it.
	first, later := []Action{}, []Action{}
	for _, r := range d.Revisions {
		jobs := planJob(d, o, r, state, route, want, o.Programmed && !moves)
		if Targeted(route, r.ID) && !Targeted(o.Route, r.ID) {
			first = append(first, jobs...)
		} else {
			later = append(later, jobs...)
		}
	}
	acts = append(acts, first...)
	if moves {
		acts = append(acts, Action{Kind: PutRoute, Route: route})
	} else if !o.Programmed && !o.ProgramTried {
		acts = append(acts, Action{Kind: Program, Route: route})
	}
	acts = append(acts, later...)
	return append(acts, planRetention(d, o, state, route, want)...)
}

// planDelete drains and removes: first no new requests, which nobody may wake anything
// for, wherever they come from; then the instances; then, when every one has ended, the
// jobs, the entries in Consul and what is stored.
func planDelete(d Desired, o Observed) []Action {
	if o.Route.Service != "" && !o.Route.Deleted() {
		r := o.Route
		r.Targets = nil // Its revisions stay: what is in flight has their settings.
		return []Action{{Kind: PutRoute, Route: r}}
	}
	jobs, left := planEnds(d, o)
	switch {
	case !left && o.Leftovers:
		return []Action{{Kind: Unprogram}}
	case !left:
		return []Action{{Kind: ForgetService}}
	case o.Route.Service == "" || o.Programmed:
		return jobs
	}
	var program []Action
	if !o.ProgramTried {
		program = []Action{{Kind: Program, Route: o.Route}}
	}
	if o.GivenUp {
		return append(jobs, program...) // Which may fail for ever.
	}
	return program
}

// planEnds ends the jobs of a service that is deleted; left: there is still something
// of one.
func planEnds(d Desired, o Observed) (acts []Action, left bool) {
	for _, r := range d.Revisions {
		job, in := o.Jobs[r.ID], o.Instances[r.ID]
		busy := in.Alive+in.Stopping > 0
		switch {
		case job.Running() && (busy || job.Count > 0):
			acts = append(acts, Action{Kind: StopJob, Revision: r.ID, Index: job.Index, Reason: "the service is deleted"})
		case job.Exists && !busy:
			acts = append(acts, Action{Kind: PurgeJob, Revision: r.ID, Index: job.Index, Reason: "the service is deleted"})
		}
		left = left || job.Exists || busy
	}
	return acts, left
}

// TriedAgain is why a revision is pending that had failed.
const TriedAgain = "it had failed and was submitted again: it is tried again"

// planPhases moves revisions from pending to ready or failed. It returns the
// state as it will be, so that the rest of the plan need not wait for a pass.
func planPhases(d Desired, o Observed) ([]Action, map[string]wadi.RevisionState) {
	var acts []Action
	state := map[string]wadi.RevisionState{}
	set := func(id string, p wadi.Phase, reason string) {
		acts = append(acts, Action{Kind: SetPhase, Revision: id, Phase: p, Reason: reason})
		s := state[id]
		s.Phase, s.Reason, s.Since, s.Attempt = p, reason, o.Now, d.Attempt
		state[id] = s
	}
	for _, r := range d.Revisions {
		s, known := d.State.Revisions[r.ID]
		state[r.ID] = s
		if !known || s.Phase == "" {
			set(r.ID, wadi.Pending, "")
			s = state[r.ID]
		}
		wanted := r.ID == d.Latest || Named(d.Service, r.ID)
		if wanted && s.TriedAgain(d.Attempt) {
			set(r.ID, wadi.Pending, TriedAgain)
			s = state[r.ID]
		}
		in, need := o.Instances[r.ID], d.Service.Scale.Initial
		if wanted && s.Phase == wadi.Failed && in.Ready > 0 && in.Ready >= need {
			set(r.ID, wadi.Ready, "its instances became ready after all")
			continue
		}
		if s.Phase != wadi.Pending {
			continue
		}
		switch {
		case in.Ready >= need:
			set(r.ID, wadi.Ready, "")
		case wanted && in.unrecoverable():
			set(r.ID, wadi.Failed, fmt.Sprintf("Nomad gave %s up, one after the other, for the same error, which it calls unrecoverable: %s",
				wadi.Count(len(in.GivenUp), "instance"), in.GivenUp[len(in.GivenUp)-1]))
		case wanted && !in.Unknown && !o.Now.Before(FailsAt(r, s, o)):
			set(r.ID, wadi.Failed, progressReason(r, in, need))
		}
	}
	return acts, state
}

// FailsAt is when a pending revision fails if it is not ready by then. Only time in
// which a leader could see its instances counts: what nobody saw may have been ready.
func FailsAt(r wadi.Revision, s wadi.RevisionState, o Observed) time.Time {
	began := s.Since
	if b := o.Began[r.ID]; b.After(began) {
		began = b
	}
	return began.Add(r.Spec.Timeout.Progress.D())
}

func progressReason(r wadi.Revision, in Instances, need int) string {
	s := fmt.Sprintf("%d of %s %s ready within %v (timeout.progress)", in.Ready, wadi.Count(need, "instance"), wadi.Either(need, "was", "were"), r.Spec.Timeout.Progress)
	if why := cmp.Or(in.Diagnosis, in.UnreadyReason); why != "" {
		s += ": " + why
	}
	return s
}

// planJob keeps a routed revision's job in Nomad, as it was stored, and takes
// the job of one that is not routed away once its last instance has ended.
func planJob(d Desired, o Observed, r wadi.Revision, state map[string]wadi.RevisionState, route wadi.Route, want []wadi.RouteTarget, carried bool) []Action {
	job, in := o.Jobs[r.ID], o.Instances[r.ID]
	phase := state[r.ID].Phase
	wanted := phase != wadi.Failed && among(want, r.ID)
	if !wanted && !Routed(&d.Service, &route, r.ID, d.Latest, phase) {
		if phase == wadi.Ready && !carried {
			return nil
		}
		return planRetire(job, in, r, phase)
	}
	var acts []Action
	count := max(o.Wanted[r.ID], d.Service.Scale.Min)
	switch {
	case !job.Exists:
		why := "its job was gone from Nomad"
		if phase == wadi.Pending && state[r.ID].Reason == TriedAgain {
			why = TriedAgain
		}
		acts = append(acts, Action{Kind: PutBack, Revision: r.ID, Count: count, Reason: why})
	case job.Stopped:
		acts = append(acts, Action{Kind: PutBack, Revision: r.ID, Count: count, Index: job.Index, Reason: "its job was stopped in Nomad"})
	case job.Index > o.Adopted[r.ID]: // A lower one is our own change that the event stream has not told yet.
		check := o.Checks[r.ID]
		if check.Index != job.Index {
			acts = append(acts, Action{Kind: CheckDrift, Revision: r.ID, Count: job.Count, Index: job.Index})
		} else if check.Drifted {
			acts = append(acts, Action{Kind: UndoDrift, Revision: r.ID, Count: job.Count, Index: job.Index})
		}
	}
	if phase == wadi.Retired { // Only now that it has its job again may the route name it.
		next := wadi.Pending
		if state[r.ID].WasReady {
			next = wadi.Ready
		}
		acts = append(acts, Action{Kind: SetPhase, Revision: r.ID, Phase: next, Reason: "routed again"})
	}
	return acts
}

func planRetire(job JobState, in Instances, r wadi.Revision, phase wadi.Phase) []Action {
	var acts []Action
	busy := in.Alive > 0 || in.Stopping > 0 || job.Running() && job.Count > 0
	if job.Exists && !busy {
		acts = append(acts, Action{Kind: PurgeJob, Revision: r.ID, Index: job.Index, Reason: "no traffic goes to it"})
	}
	if !busy && (phase == wadi.Ready || phase == wadi.Pending) {
		acts = append(acts, Action{Kind: SetPhase, Revision: r.ID, Phase: wadi.Retired, Reason: "no traffic goes to it"})
	}
	return acts
}

// planRetention forgets the oldest revisions beyond those that are to be kept.
func planRetention(d Desired, o Observed, state map[string]wadi.RevisionState, route wadi.Route, want []wadi.RouteTarget) []Action {
	var idle []wadi.Revision
	for _, r := range d.Revisions {
		gone := state[r.ID].Phase == wadi.Retired || state[r.ID].Phase == wadi.Failed
		used := Targeted(route, r.ID) || among(want, r.ID) || r.ID == d.Latest
		if gone && !used && !o.Jobs[r.ID].Exists {
			idle = append(idle, r)
		}
	}
	var acts []Action
	for i, r := range idle[:max(0, len(idle)-d.Service.Retention.Keep)] {
		old := o.Now.Sub(time.Unix(r.Created, 0)) >= d.Retention.KeepFor &&
			o.Now.Sub(state[r.ID].Since) >= d.Retention.KeepActiveFor
		if tooMany := d.Retention.Max > 0 && len(idle)-i > d.Retention.Max; old || tooMany {
			acts = append(acts, Action{Kind: ForgetRevision, Revision: r.ID, Reason: "older than the revisions that are kept"})
		}
	}
	return acts
}
