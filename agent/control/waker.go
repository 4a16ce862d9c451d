package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// JobStarter is how the waker starts instances. Guarded calls return wadi.ErrConflict when
// index is not the job's modify index any more; an index of 0 means that the job must not
// exist.
type JobStarter interface {
	JobReader
	// Scale sets the count and returns the new modify index.
	Scale(ctx context.Context, namespace, id string, count int, index uint64, message string) (uint64, error)
	// Register registers a stored job with count and returns the new modify index.
	Register(ctx context.Context, job json.RawMessage, count int, index uint64) (uint64, error)
	// Evaluate makes Nomad try again to place what is missing.
	Evaluate(ctx context.Context, namespace, id string) error
}

// JobPurger is how the waker takes a registration back. Nomad does not guard it.
type JobPurger interface {
	Purge(ctx context.Context, namespace, id string) error
}

// SyncedCluster is a [Cluster] that knows whether it is complete.
type SyncedCluster interface {
	Cluster
	// Synced reports whether everything of a namespace was read since the stream was opened.
	Synced(namespace string) bool
}

// RevisionReader reads one stored revision.
type RevisionReader interface {
	Revision(ctx context.Context, service, id string) (wadi.Revision, error)
}

// Waker wakes revisions because a request waits for them. Every agent has one:
// waking needs no leader.
type Waker struct {
	Jobs    JobStarter
	Purger  JobPurger
	Cluster SyncedCluster
	Store   RevisionReader
	// Route finds the present route of a service.
	Route  func(service string) (wadi.Route, bool)
	Events *Events
	Owned  *Owned
	Log    hclog.Logger

	empty emptyPeriods
}

// wakeTries bounds how often a wake that met another change is decided again.
const wakeTries = 5

// Wake makes sure that at least one instance of the revision is there or coming.
func (w *Waker) Wake(ctx context.Context, revision string) error {
	var job scheduler.JobState
	for try := range wakeTries {
		route, err := w.routeTo(revision) // It may have been deleted since the last try.
		if err != nil {
			return err
		}
		ns := route.Namespace
		if err := w.paused(ns, revision); err != nil {
			return err
		}
		if try == 0 {
			job = w.Cluster.Job(ns, revision)
		}
		// The stream's view is enough to scale a job that is there, as the index
		// guards it. That a job is missing is only believed of Nomad itself, and
		// while the stream is away, that it has a count.
		if try > 0 || !w.Cluster.Synced(ns) || !job.Running() {
			if job, err = w.read(ctx, route.Namespace, revision); err != nil {
				return fmt.Errorf("wake %s: %w", revision, err)
			}
		}
		act := scheduler.Wake(w.wakeState(ns, revision, route.Revisions[revision], job))
		err = w.execute(ctx, route, revision, act)
		if !errors.Is(err, wadi.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("wake %s: %w", revision, wadi.ErrConflict)
}

// routeTo is the route of the revision's service, if a request may wake the revision.
func (w *Waker) routeTo(revision string) (wadi.Route, error) {
	service, _, _ := wadi.SplitRevisionID(revision)
	route, ok := w.Route(service)
	if _, known := route.Revisions[revision]; !ok || !known {
		return route, fmt.Errorf("wake %s: %w", revision, wadi.ErrNotFound)
	}
	if route.Deleted() { // The leader ends its jobs, and would do so again and again.
		return route, fmt.Errorf("wake %s: %w: its service is being deleted", revision, wadi.ErrUnplaceable)
	}
	return route, nil
}

// readTimeout bounds how long a waiting request is left without the answer that Nomad is away.
const readTimeout = 5 * time.Second

func (w *Waker) read(ctx context.Context, namespace, revision string) (scheduler.JobState, error) {
	return readWithin{w.Jobs}.Job(ctx, namespace, revision)
}

// readWithin reads jobs within readTimeout.
type readWithin struct{ JobReader }

func (r readWithin) Job(ctx context.Context, namespace, revision string) (scheduler.JobState, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	job, err := r.JobReader.Job(ctx, namespace, revision)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("nomad: %w: no answer within %v", wadi.ErrUnavailable, readTimeout)
	}
	return job, err
}

// paused is why no instance is started now because its image could not be had; nil: one
// may be, or there is one that has it and may become ready.
func (w *Waker) paused(namespace, revision string) error {
	eps, _ := w.Cluster.Endpoints(namespace, revision)
	p, now := scheduler.PullPauseAfter(eps), time.Now()
	if !p.Active(now) || scheduler.WithTasks(eps) > 0 {
		return nil
	}
	return fmt.Errorf("wake %s: %w", revision, &wadi.PullPausedError{Kind: p.Kind, Reason: p.Reason, For: p.Until.Sub(now)})
}

func (w *Waker) wakeState(namespace, revision string, rr wadi.RouteRevision, job scheduler.JobState) scheduler.WakeState {
	alive, _ := alive(w.Cluster, namespace, revision)
	d := w.Cluster.Diagnosis(namespace, revision)
	return scheduler.WakeState{
		Job: job, Alive: alive, Blocked: d.Reason != "",
		Waited:     w.empty.observe(revision, job.Running() && job.Count > 0 && alive == 0),
		Activation: rr.Activation, Max: rr.Max,
	}
}

// execute does what a wake has to do.
func (w *Waker) execute(ctx context.Context, route wadi.Route, revision string, act scheduler.WakeAction) error {
	var index uint64
	var err error
	switch act.Kind {
	case scheduler.WakeNone:
		return nil
	case scheduler.WakeScale:
		if index, err = w.Jobs.Scale(ctx, route.Namespace, revision, act.Count, act.Index, act.Reason); err == nil {
			w.Owned.Scaled(revision, act.Index, index)
		}
	case scheduler.WakeRegister:
		if index, err = w.register(ctx, route, revision, act); err == nil {
			w.Owned.Add(revision, index)
		}
	case scheduler.WakeEvaluate:
		w.empty.observe(revision, false) // The next evaluation is not due before its time.
		err = w.Jobs.Evaluate(ctx, route.Namespace, revision)
	}
	if err != nil {
		return fmt.Errorf("wake %s: %w", revision, err)
	}
	w.Log.Info("woken", "revision", revision, "count", act.Count, "reason", act.Reason)
	w.Events.Add(route.Service, revision, EventWoken, act.Reason)
	return nil
}

// register puts the stored job back, and purges it again if its service was deleted
// meanwhile: no loop would know of the job. Nomad guards that there was no other job. Only
// the store knows whether the service still exists, and it has to be asked afterwards.
func (w *Waker) register(ctx context.Context, route wadi.Route, revision string, act scheduler.WakeAction) (uint64, error) {
	rev, err := w.Store.Revision(ctx, route.Service, revision)
	if err != nil {
		return 0, err
	}
	if _, err := w.routeTo(revision); err != nil {
		return 0, err
	}
	index, err := w.Jobs.Register(ctx, rev.Job, act.Count, act.Index)
	if err != nil {
		return 0, err
	}
	now, err := w.Store.Revision(ctx, route.Service, revision)
	if errors.Is(err, wadi.ErrNotFound) || err == nil && !bytes.Equal(now.Job, rev.Job) {
		return 0, w.undoRegister(ctx, route, revision, index)
	}
	return index, nil // A store that does not answer proves nothing; the leader takes care of jobs.
}

// undoRegister purges a job that this wake registered, unless it has changed since.
func (w *Waker) undoRegister(ctx context.Context, route wadi.Route, revision string, index uint64) error {
	_, same, err := emptied(ctx, w.Jobs, route.Namespace, revision, index, "its service was deleted meanwhile")
	if err == nil && same {
		err = w.Purger.Purge(ctx, route.Namespace, revision)
	}
	if err != nil {
		return fmt.Errorf("take back what was registered after its service was deleted: %w", err)
	}
	w.Log.Warn("registration taken back", "revision", revision, "reason", "its service was deleted meanwhile")
	return fmt.Errorf("its service was deleted meanwhile: %w", wadi.ErrNotFound)
}
