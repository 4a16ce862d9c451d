package nomad

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
)

// key names a job: an ID alone is anybody's who may submit in any namespace.
type key struct{ namespace, id string }

// keyOf is the key of a job in a namespace; empty is Nomad's default.
func keyOf(namespace, id string) key { return key{orDefault(namespace), id} }

// orDefault is a namespace by its name: an empty one is Nomad's default.
func orDefault(namespace string) string { return cmp.Or(namespace, api.DefaultNamespace) }

// state is what the watcher knows. It belongs to the goroutine of Watcher.Run.
//
// It has every job with a revision's ID, whatever its meta says: that may have been
// edited, and which namespace a revision's job is in is for those who read to say.
type state struct {
	revisions map[key]*revision
	marks     map[string]marks // By subscription.
	dirty     map[key]bool     // Revisions that readers don't know yet; true: the job itself is another.
}

// marks are the indexes of a subscription's lists. Events up to them are in the lists
// already. Without this, an old event of a purged job would bring it back.
type marks struct{ jobs, allocs, evals uint64 }

// revision is what is known of one job and its allocations.
type revision struct {
	job       JobState
	created   uint64 // The job's create index: older allocations were another's of that ID.
	instances map[string]instance
	blocked   blocked
	diagnosis diagnosis // As published.
}

type instance struct {
	endpoint wadi.Endpoint
	exits    []wadi.Exit
	index    uint64 // Modify index.
	healthy  bool
	wanted   bool // Nomad wants it to run.
}

// blocked is the latest evaluation that could not place all.
type blocked struct {
	eval   string
	reason string
	index  uint64
}

type diagnosis struct {
	kind   string // What may change without a new beginning is the text.
	reason string
	since  time.Time
	overAt time.Time // When it was last over; zero while it lasts.
}

// relapse is within how much time the same trouble goes on from where it began: an
// app that always exits soon runs for a moment every time.
const relapse = 30 * time.Second

// diagnosisLinger is how long a task's trouble is told after it was over: that the app runs
// again does not say yet that it stays.
const diagnosisLinger = 5 * time.Second

// visibleAt is what is told of t.
func (t diagnosis) visibleAt(now time.Time) (reason string, since time.Time) {
	if !t.overAt.IsZero() && (t.kind != diagnosisTask || now.Sub(t.overAt) > diagnosisLinger) {
		return "", time.Time{}
	}
	return t.reason, t.since
}

// The kinds of trouble.
const (
	diagnosisPlacement = "placement"
	diagnosisTask      = "task"
)

// keepEnded is how many ended instances of a revision are remembered.
const keepEnded = 5

// snapshot is everything that a subscription is about, as read.
type snapshot struct {
	jobs   []Job
	allocs []allocation
	evals  []evaluation
	marks  marks
}

func newState() *state {
	return &state{revisions: map[key]*revision{}, marks: map[string]marks{}, dirty: map[key]bool{}}
}

// isRevisionJob tells whether a job may be a revision's.
func isRevisionJob(id string) bool {
	_, _, ok := wadi.SplitRevisionID(id)
	return ok
}

// replace makes f all that is known of the namespaces that its subscription owns.
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
			now.diagnosis = r.diagnosis // For its beginning.
		}
	}
	for _, a := range f.allocs {
		s.allocation(a)
	}
	for _, e := range f.evals {
		s.evaluation(e)
	}
	s.marks[subscription] = f.marks
}

// forget drops what is known of namespaces.
func (s *state) forget(subscription string, owns func(namespace string) bool) {
	s.replace(subscription, owns, snapshot{})
	delete(s.marks, subscription)
}

// apply takes in what one event of a subscription says.
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
	s.dirty[k] = true // Its trouble too: that depends on the count.
}

// purged forgets a job and its instances: Nomad forgets them with the job, and
// says nothing more about them while its client ends their processes.
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
	r.instances[a.ID] = instance{
		endpoint: endpoint(a), exits: exits(a), index: a.ModifyIndex,
		healthy: healthy(a), wanted: a.DesiredStatus == "run",
	}
	if a.CreateIndex > r.blocked.index {
		r.blocked = blocked{}
	}
	s.markChanged(k)
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

// markChanged notes that there is news of a revision's instances.
func (s *state) markChanged(k key) {
	if _, ok := s.dirty[k]; !ok {
		s.dirty[k] = false
	}
}

// endpoints are a revision's, oldest first. It forgets the oldest of those that
// have ended.
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

func byAge(a, b wadi.Endpoint) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Instance, b.Instance))
}

// diagnose is why a revision can't run, by what is known now.
func (r *revision) diagnose() (kind, reason string) {
	if r.job.Count == 0 || r.job.Stopped {
		return "", ""
	}
	if r.blocked.reason != "" {
		return diagnosisPlacement, r.blocked.reason
	}
	newestFirst := slices.SortedFunc(maps.Values(r.instances), func(a, b instance) int {
		return byAge(b.endpoint, a.endpoint)
	})
	// A replacement that was only just placed says nothing yet, so the one
	// before it still counts.
	for _, i := range newestFirst {
		switch {
		case i.healthy:
			return "", ""
		case i.endpoint.Problem != "":
			return diagnosisTask, i.endpoint.Problem
		}
	}
	return "", ""
}
