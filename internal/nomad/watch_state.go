package nomad

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
)

// key names a job by namespace and ID: other users may submit a job with the same ID in
// another namespace.
type key struct{ namespace, id string }

// keyOf is the key of a job in a namespace; empty is Nomad's default.
func keyOf(namespace, id string) key { return key{orDefault(namespace), id} }

// orDefault is the name of a namespace: an empty one is Nomad's default.
func orDefault(namespace string) string { return cmp.Or(namespace, api.DefaultNamespace) }

// state is everything that the watcher has read. It belongs to the goroutine of
// Watcher.Run.
//
// It has every job with a revision's ID, whatever its meta says: the meta may have been
// edited, and readers know in which namespace a revision's job is.
type state struct {
	revisions map[key]*revision
	marks     map[string]marks // By subscription.
	dirty     map[key]bool     // Revisions that are not published yet; true: the job itself changed.
}

// marks are the indexes of a subscription's lists. The lists already contain events up to
// them. Without marks an old event of a purged job would bring it back.
type marks struct{ jobs, allocs, evals uint64 }

// revision is one job and its allocations.
type revision struct {
	job       JobState
	created   uint64 // The job's create index: older allocations belong to an earlier job with this ID.
	instances map[string]instance
	before    map[string]instance // While everything is read anew: those that were known.
	blocked   blocked
	diagnosis diagnosis // As published.
}

type instance struct {
	endpoint wadi.Endpoint
	exits    []wadi.Exit
	pulls    pullEvents
	index    uint64 // Modify index.
	healthy  bool
	wanted   bool // Nomad wants it to run.
}

// blocked is the latest evaluation that could not place all instances.
type blocked struct {
	eval   string
	reason string
	index  uint64
}

type diagnosis struct {
	kind   string // The text may change while the kind stays.
	reason string
	pull   wadi.PullFailure
	since  time.Time
	overAt time.Time // When it was last gone; zero while it lasts.
}

// relapse is how long a diagnosis may be gone and still keep its beginning: an app that
// always exits soon runs for a moment every time.
const relapse = 30 * time.Second

// diagnosisLinger is how long a task's diagnosis is shown after it was gone: the app may
// exit again soon.
const diagnosisLinger = 5 * time.Second

// visibleAt is what readers see of d at a time.
func (t diagnosis) visibleAt(now time.Time) wadi.Diagnosis {
	if !t.overAt.IsZero() && (t.kind != diagnosisTask || t.pull != "" || now.Sub(t.overAt) > diagnosisLinger) {
		return wadi.Diagnosis{}
	}
	return wadi.Diagnosis{Reason: t.reason, Since: t.since, Pull: t.pull}
}

// The kinds of diagnosis.
const (
	diagnosisPlacement = "placement"
	diagnosisTask      = "task"
)

// lackingKept is how long an instance that ended for want of an image is known after
// everything was read anew.
const lackingKept = 10 * time.Minute

// keepEnded bounds the ended instances that a revision keeps.
const keepEnded = 5

// snapshot is everything that a subscription covers, as read at once.
type snapshot struct {
	jobs   []Job
	allocs []allocation
	evals  []evaluation
	marks  marks
}

func newState() *state {
	return &state{revisions: map[key]*revision{}, marks: map[string]marks{}, dirty: map[key]bool{}}
}

// isRevisionJob reports whether a job has a revision's ID.
func isRevisionJob(id string) bool {
	_, _, ok := wadi.SplitRevisionID(id)
	return ok
}

// replace replaces everything in the namespaces that a subscription owns by f.
func (s *state) replace(subscription string, owns func(namespace string) bool, f snapshot) {
	old := map[key]*revision{}
	for k, r := range s.revisions {
		if owns(k.namespace) {
			old[k], s.dirty[k] = r, true
			delete(s.revisions, k)
		}
	}
	for _, j := range f.jobs {
		s.job(j)
	}
	for k, r := range old {
		if now := s.revisions[k]; now != nil {
			now.diagnosis = r.diagnosis // For the beginning of the diagnosis.
			now.keep(r)
		}
	}
	for _, a := range f.allocs {
		s.allocation(a)
	}
	for k := range old {
		if now := s.revisions[k]; now != nil {
			now.before = nil
		}
	}
	for _, e := range f.evals {
		s.evaluation(e)
	}
	s.marks[subscription] = f.marks
}

// forget drops everything in the namespaces that a subscription owns.
func (s *state) forget(subscription string, owns func(namespace string) bool) {
	s.replace(subscription, owns, snapshot{})
	delete(s.marks, subscription)
}

// apply applies one event of a subscription.
func (s *state) apply(subscription string, c change) {
	seen := s.marks[subscription]
	switch {
	case c.job != nil && c.index > seen.jobs:
		if c.purged {
			s.purged(keyOf(c.job.Namespace, c.job.ID))
		} else if isRevisionJob(c.job.ID) {
			s.job(c.job.export())
		}
	case c.alloc != nil && c.index > seen.allocs:
		s.allocation(*c.alloc)
	case c.eval != nil && c.index > seen.evals:
		s.evaluation(*c.eval)
	}
}

func (s *state) job(j Job) {
	k := keyOf(j.Namespace, j.ID)
	now := JobState{Count: j.Count, Version: j.Version, JobModifyIndex: j.JobModifyIndex, Stopped: j.Stopped}
	r := s.revisions[k]
	switch {
	case r == nil:
		r = &revision{instances: map[string]instance{}}
		s.revisions[k] = r
	case r.job.JobModifyIndex > now.JobModifyIndex:
		return
	case r.job.JobModifyIndex == now.JobModifyIndex && r.job.Stopped == now.Stopped:
		return // Only its status changed.
	}
	r.job, r.created = now, j.CreateIndex
	s.dirty[k] = true // Its diagnosis too, which depends on the count.
}

// purged forgets a job and its instances: Nomad forgets them with the job, and reports
// nothing more while its client ends their processes.
func (s *state) purged(k key) {
	if s.revisions[k] != nil {
		delete(s.revisions, k)
		s.dirty[k] = true
	}
}

func (s *state) allocation(a allocation) {
	k := keyOf(a.Namespace, a.JobID)
	r := s.revisions[k]
	if r == nil || a.CreateIndex < r.created || r.instances[a.ID].index > a.ModifyIndex {
		return
	}
	before, known := r.instances[a.ID]
	if !known {
		before = r.before[a.ID]
	}
	i := instance{
		endpoint: endpoint(a), exits: exits(a), pulls: pullsOf(a.TaskStates).after(before.pulls), index: a.ModifyIndex,
		healthy: healthy(a), wanted: a.DesiredStatus == "run",
	}
	i.endpoint.Pull, i.endpoint.PullFailedAt = i.pulls.time(), before.endpoint.PullFailedAt
	if i.pulls.failedAt != before.pulls.failedAt {
		i.endpoint.PullFailedAt = learntAt(a, known || before.index > 0)
	}
	r.instances[a.ID] = i
	if a.CreateIndex > r.blocked.index {
		r.blocked = blocked{}
	}
	s.markChanged(k)
}

// learntAt is when a failure of an instance is learnt of: now, unless the instance is new to
// this agent, which may have started hours after it ended.
func learntAt(a allocation, known bool) int64 {
	now := time.Now().UnixNano()
	if !known && ended(a) && a.ModifyTime > 0 {
		return min(now, a.ModifyTime)
	}
	return now
}

func (s *state) evaluation(e evaluation) {
	k := keyOf(e.Namespace, e.JobID)
	r := s.revisions[k]
	if r == nil || e.ModifyIndex < r.blocked.index {
		return
	}
	failed := len(e.FailedTGAllocs) > 0
	switch {
	case failed && (e.Status == "blocked" || e.Status == "complete" && e.BlockedEval != ""):
		r.blocked = blocked{e.ID, placementReason(e.FailedTGAllocs), e.ModifyIndex}
	case !failed && e.Status == "complete":
		r.blocked = blocked{}
	default:
		return
	}
	s.markChanged(k)
}

// markChanged marks a revision whose instances changed for publication.
func (s *state) markChanged(k key) {
	if _, ok := s.dirty[k]; !ok {
		s.dirty[k] = false
	}
}

// endpoints are the revision's instances, oldest first. It drops the oldest ended ones.
func (r *revision) endpoints() []wadi.Endpoint {
	var out, ended []wadi.Endpoint
	for _, i := range r.instances {
		if i.endpoint.Ended {
			ended = append(ended, i.endpoint)
		} else {
			out = append(out, i.endpoint)
		}
	}
	slices.SortFunc(ended, byAge)
	for len(ended) > keepEnded {
		delete(r.instances, ended[0].Instance)
		ended = ended[1:]
	}
	out = append(out, ended...)
	slices.SortFunc(out, byAge)
	return out
}

// keep takes over from r, the same job's before everything was read anew, what is not read
// again: instances that ended for want of an image, and what was known of the others.
func (now *revision) keep(r *revision) {
	if now.created != r.created {
		return
	}
	now.before = r.instances
	for id, i := range r.instances {
		if i.endpoint.Ended && i.endpoint.PullFailure != "" && time.Since(time.Unix(0, i.endpoint.PullFailedAt)) < lackingKept {
			now.instances[id] = i
		}
	}
}

func byAge(a, b wadi.Endpoint) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Instance, b.Instance))
}

// diagnose is why the revision can't run now; empty if it can.
func (r *revision) diagnose() (d diagnosis) {
	if r.job.Count == 0 || r.job.Stopped {
		return d
	}
	if r.blocked.reason != "" {
		return diagnosis{kind: diagnosisPlacement, reason: r.blocked.reason}
	}
	newestFirst := slices.SortedFunc(maps.Values(r.instances), func(a, b instance) int {
		return byAge(b.endpoint, a.endpoint)
	})
	// A new replacement says nothing yet, so the one before it still counts; but that its
	// image could not be had does not, once the replacement pulls.
	pulling := false
	for _, i := range newestFirst {
		switch {
		case i.healthy, pulling && i.endpoint.PullFailure != "":
			return d
		case i.endpoint.Problem == "":
			pulling = pulling || i.endpoint.Pull.Ongoing
		default:
			return diagnosis{kind: diagnosisTask, reason: i.endpoint.Problem, pull: i.endpoint.PullFailure}
		}
	}
	return d
}
