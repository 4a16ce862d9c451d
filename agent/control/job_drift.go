package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// checksAtOnce bounds the plans that Nomad makes for this agent at a time. A plan costs a
// server some milliseconds, and a new leader may have thousands to ask for: they are made
// beside everything else, and leave connections for what is urgent.
const checksAtOnce = 4

// DriftPlanner compares jobs with what is stored.
type DriftPlanner interface {
	// Drifted asks Nomad's plan whether registering job with count would change it, and at
	// which index Nomad had it then. Where Nomad plans nothing the job has drifted:
	// registering an unchanged job does no harm.
	Drifted(ctx context.Context, job json.RawMessage, count int) (drifted bool, index uint64, err error)
	// Edited reports whether the registration at index has changed the job.
	Edited(ctx context.Context, namespace, id string, index uint64) (bool, error)
}

// driftChecks asks Nomad in the background whether jobs are still as they were stored. Each
// revision has one question at most, which bounds the queue.
type driftChecks struct {
	ask    func(ctx context.Context, q driftQuestion) (drifted bool, err error)
	answer func(service string) // Called when there is news of a service.

	mu      sync.Mutex
	ctx     context.Context // Of the term; nil: it has not begun.
	working sync.WaitGroup
	workers int
	waiting []string                // Revisions, oldest first.
	asked   map[string]*driftAnswer // By revision.
}

// driftQuestion is a job that may have been edited.
type driftQuestion struct {
	service, revision string
	stored            json.RawMessage
	count             int
	index             uint64
}

// driftAnswer is a question and its answer so far.
type driftAnswer struct {
	driftQuestion
	waits   bool // It is queued.
	failed  bool // There was no answer.
	drifted bool
	err     error // Why the latest finished question had no answer; nil: it had one.
}

// begin begins a term: questions are asked until ctx ends.
func (c *driftChecks) begin(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx, c.waiting, c.asked = ctx, nil, map[string]*driftAnswer{}
}

// of is the latest question about a revision. One that had no answer is none.
func (c *driftChecks) of(revision string) (scheduler.Check, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.asked[revision]
	if a == nil || a.failed {
		return scheduler.Check{}, false
	}
	return scheduler.Check{Index: a.index, Drifted: a.drifted}, true
}

// put asks, in place of what was asked about the revision before.
func (c *driftChecks) put(q driftQuestion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.asked[q.revision]
	now := &driftAnswer{driftQuestion: q, waits: true}
	c.asked[q.revision] = now
	if before != nil {
		now.err = before.err
	}
	if before != nil && before.waits {
		return // In its place.
	}
	c.waiting = append(c.waiting, q.revision)
	if c.workers < checksAtOnce {
		c.workers++
		c.working.Go(c.work)
	}
}

// work asks until no question waits.
func (c *driftChecks) work() {
	for {
		q, ctx, ok := c.next()
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, actionTimeout)
		drifted, err := c.ask(ctx, q)
		cancel()
		if c.note(q, drifted, err) {
			c.answer(q.service)
		}
	}
}

// next takes the first question that still stands. A worker that gets none ends.
func (c *driftChecks) next() (driftQuestion, context.Context, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 && c.ctx.Err() == nil {
		a := c.asked[c.waiting[0]]
		c.waiting = c.waiting[1:]
		if a != nil && a.waits {
			a.waits = false
			return a.driftQuestion, c.ctx, true
		}
	}
	c.workers--
	return driftQuestion{}, nil, false
}

// note keeps an answer, if the question still stands.
func (c *driftChecks) note(q driftQuestion, drifted bool, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.asked[q.revision]
	if a == nil || a.waits || a.index != q.index {
		return false
	}
	a.drifted, a.err, a.failed = drifted, err, err != nil
	return true
}

// failures says which of some revisions could not be asked about when that was last
// tried. What needs no answer any more is none.
func (c *driftChecks) failures(revisions []wadi.Revision, o scheduler.Observed) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, r := range revisions {
		switch a, job := c.asked[r.ID], o.Jobs[r.ID]; {
		case a == nil:
		case !job.Running() || job.Index <= o.Adopted[r.ID]:
			delete(c.asked, r.ID)
		case a.err != nil:
			errs = append(errs, fmt.Errorf("%s %s: %w", scheduler.CheckDrift, r.ID, a.err))
		}
	}
	return errors.Join(errs...)
}

func (c *driftChecks) forget(revision string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asked, revision)
}

// checkDrift has Nomad asked whether the job is still as it was stored.
func (c *Controller) checkDrift(s *service, a scheduler.Action) error {
	stored, err := s.storedJob(a.Revision)
	if err != nil {
		return err
	}
	c.checks.put(driftQuestion{s.Service.Name, a.Revision, stored, a.Count, a.Index})
	return nil
}

// askDrift asks it, and adopts a job that is.
func (c *Controller) askDrift(ctx context.Context, q driftQuestion) (bool, error) {
	drifted, index, err := c.Plans.Drifted(ctx, q.stored, q.count)
	if err != nil || drifted {
		return drifted, err
	}
	if index < q.index {
		return false, fmt.Errorf("its plan was made with the job at index %d, before %d", index, q.index)
	}
	c.Owned.Adopt(q.revision, index) // Not q.index: it may have been edited there, and put back since.
	return false, nil
}

// undoDrift registers the stored job again over an edited one.
func (c *Controller) undoDrift(ctx context.Context, s *service, a scheduler.Action) error {
	stored, err := s.storedJob(a.Revision)
	if err != nil {
		return err
	}
	index, err := c.Jobs.Register(ctx, stored, a.Count, a.Index)
	if errors.Is(err, wadi.ErrConflict) {
		c.checks.forget(a.Revision) // It is another by now.
		return nil
	} else if err != nil {
		return err
	}
	c.Owned.Add(a.Revision, index)
	edited := index != a.Index // Nomad sometimes keeps the version of an unchanged job, and its index.
	if edited {
		edited, err = c.Plans.Edited(ctx, s.Service.Namespace, a.Revision, index)
	}
	if err == nil && !edited {
		return nil // It was as it was stored.
	}
	was := "was"
	if err != nil { // It is put back all the same.
		was = "may have been"
		c.Log.Warn("what a job was before it was put back is not known", "revision", a.Revision, "error", err)
	}
	c.Log.Warn("job put back", "revision", a.Revision, "reason", "it "+was+" edited in Nomad")
	c.Events.Add(s.Service.Name, a.Revision, EventDriftCorrected,
		"its job "+was+" edited in Nomad and is as it was submitted again; submit a new revision to change it")
	return nil
}
