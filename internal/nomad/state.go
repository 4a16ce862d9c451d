package nomad

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// state is what the watcher knows. It belongs to the goroutine of Watcher.follow
// that applies events.
type state struct {
	expect    func(string) (string, bool)
	jobs      map[string]JobState
	revisions map[string]*revision

	// Events up to the index of a list are in the list already. Without this, an
	// old event of a purged job would bring it back.
	jobsAt, allocsAt, evalsAt uint64

	dirty     map[string]bool // Revisions that readers don't know yet.
	jobsDirty bool
}

// revision is what is known of one job's allocations.
type revision struct {
	namespace string
	instances map[string]instance
	blocked   blocked
	trouble   trouble // As published.
}

type instance struct {
	endpoint    wadi.Endpoint
	index       uint64 // Modify index.
	createIndex uint64
	healthy     bool
	wanted      bool // Nomad wants it to run.
}

// blocked is the latest evaluation that could not place all.
type blocked struct {
	eval   string
	reason string
	index  uint64
}

type trouble struct {
	kind   string // What may change without a new beginning is the text.
	reason string
	since  time.Time
	over   time.Time // When it was last over; zero while it lasts.
}

// relapse is within how much time the same trouble goes on from where it began: an
// app that always exits soon runs for a moment every time.
const relapse = 30 * time.Second

// linger is how long a task's trouble is told after it was over: that the app runs
// again does not say yet that it stays.
const linger = 5 * time.Second

// at is what is told of t.
func (t trouble) at(now time.Time) (reason string, since time.Time) {
	if !t.over.IsZero() && (t.kind != troubleTask || now.Sub(t.over) > linger) {
		return "", time.Time{}
	}
	return t.reason, t.since
}

// The kinds of trouble.
const (
	troublePlacement = "placement"
	troubleTask      = "task"
)

// keepEnded is how many ended instances of a revision are remembered.
const keepEnded = 5

// full is everything, as read.
type full struct {
	jobs     []Job
	jobsAt   uint64
	allocs   []allocation
	allocsAt uint64
	evals    []evaluation
	evalsAt  uint64
}

func newState(expect func(string) (string, bool)) *state {
	if expect == nil {
		expect = func(string) (string, bool) { return "", false }
	}
	return &state{expect: expect, jobs: map[string]JobState{}, revisions: map[string]*revision{}, dirty: map[string]bool{}}
}

// ours tells whether a job is one of our revisions'.
func (s *state) ours(namespace, id string, meta map[string]string) bool {
	if ns, ok := s.expect(id); ok {
		return ns == namespace
	}
	if known, ok := s.jobs[id]; ok {
		return known.Namespace == namespace
	}
	service, _, ok := wadi.SplitRevisionID(id)
	return ok && meta[MetaService] == service
}

// replace makes f all that is known.
func (s *state) replace(f full) {
	old := s.revisions
	for id := range old {
		s.dirty[id] = true
	}
	s.jobs, s.revisions, s.jobsDirty = map[string]JobState{}, map[string]*revision{}, true
	for _, j := range f.jobs {
		s.job(j)
	}
	for id, r := range old {
		if now := s.revisions[id]; now != nil {
			now.trouble = r.trouble // For its beginning.
		}
	}
	for _, a := range f.allocs {
		s.allocation(a)
	}
	for _, e := range f.evals {
		s.evaluation(e)
	}
	s.jobsAt, s.allocsAt, s.evalsAt = f.jobsAt, f.allocsAt, f.evalsAt
}

// event takes in one event.
func (s *state) event(e event) error {
	var err error
	switch {
	case e.Topic == "Job" && e.Index > s.jobsAt:
		var p struct {
			Job     job
			Deleted bool
		}
		if err = json.Unmarshal(e.Payload, &p); err != nil {
			break
		}
		if p.Deleted {
			s.purged(p.Job.Namespace, p.Job.ID)
		} else if s.ours(p.Job.Namespace, p.Job.ID, p.Job.Meta) {
			s.job(p.Job.export())
		}
	case e.Topic == "Allocation" && e.Index > s.allocsAt:
		var p struct{ Allocation allocation }
		if err = json.Unmarshal(e.Payload, &p); err == nil {
			s.allocation(p.Allocation)
		}
	case e.Topic == "Evaluation" && e.Index > s.evalsAt:
		var p struct{ Evaluation evaluation }
		if err = json.Unmarshal(e.Payload, &p); err == nil {
			s.evaluation(p.Evaluation)
		}
	}
	if err != nil {
		return fmt.Errorf("event %s %s: %w", e.Topic, e.Key, err)
	}
	return nil
}

func (s *state) job(j Job) {
	if s.revisions[j.ID] == nil {
		s.revisions[j.ID] = &revision{namespace: j.Namespace, instances: map[string]instance{}}
		s.dirty[j.ID] = true
	}
	now := JobState{
		Namespace: j.Namespace, Meta: j.Meta, Count: j.Count,
		Version: j.Version, JobModifyIndex: j.JobModifyIndex, Stopped: j.Stopped,
	}
	was, ok := s.jobs[j.ID]
	if ok && was.JobModifyIndex > now.JobModifyIndex {
		return
	}
	if ok && was.JobModifyIndex == now.JobModifyIndex && was.Stopped == now.Stopped {
		return // Only its status changed.
	}
	s.jobs[j.ID], s.jobsDirty = now, true
	s.dirty[j.ID] = true // Trouble depends on the count.
}

// purged forgets a job and its instances: Nomad forgets them with the job, and
// says nothing more about them while its client ends their processes.
func (s *state) purged(namespace, id string) {
	if was, ok := s.jobs[id]; !ok || was.Namespace != namespace {
		return
	}
	delete(s.jobs, id)
	delete(s.revisions, id)
	s.jobsDirty, s.dirty[id] = true, true
}

func (s *state) allocation(a allocation) {
	r := s.revisions[a.JobID]
	if r == nil || r.namespace != a.Namespace || r.instances[a.ID].index > a.ModifyIndex {
		return
	}
	r.instances[a.ID] = instance{
		endpoint: endpoint(a), index: a.ModifyIndex, createIndex: a.CreateIndex,
		healthy: healthy(a), wanted: a.DesiredStatus == "run",
	}
	if a.CreateIndex > r.blocked.index {
		r.blocked = blocked{}
	}
	s.dirty[a.JobID] = true
}

func (s *state) evaluation(e evaluation) {
	r := s.revisions[e.JobID]
	if r == nil || r.namespace != e.Namespace || e.ModifyIndex < r.blocked.index {
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
	s.dirty[e.JobID] = true
}

// endpoints are a revision's, oldest first. It forgets the oldest of those that
// have ended.
func (r *revision) endpoints() []wadi.Endpoint {
	var out, gone []wadi.Endpoint
	for _, i := range r.instances {
		if i.endpoint.Ended {
			gone = append(gone, i.endpoint)
		} else {
			out = append(out, i.endpoint)
		}
	}
	slices.SortFunc(gone, byAge)
	for len(gone) > keepEnded {
		delete(r.instances, gone[0].Instance)
		gone = gone[1:]
	}
	out = append(out, gone...)
	slices.SortFunc(out, byAge)
	return out
}

func byAge(a, b wadi.Endpoint) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Instance, b.Instance))
}

// problem is why a revision can't run, by what is known now.
func (r *revision) problem(j JobState) (kind, reason string) {
	if j.Count == 0 || j.Stopped {
		return "", ""
	}
	if r.blocked.reason != "" {
		return troublePlacement, r.blocked.reason
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
			return troubleTask, i.endpoint.Problem
		}
	}
	return "", ""
}
