// Package control carries decisions out: the leader's controller and autoscaler,
// and the waking that every agent does.
//
// It promises that each loop is level-triggered and can be stopped at any point:
// whoever goes on finds the same work to do. It decides nothing itself (package
// scheduler does) and talks to Nomad, Consul and the instances only through the
// small interfaces of this file.
package control

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Nomad is what the loops ask of Nomad's servers, with the agent's own token.
// Guarded calls return wadi.ErrConflict when index is not the job's modify index
// any more; an index of 0 means that the job must not exist.
type Nomad interface {
	// Job reads a job's state; one that does not exist is no error.
	Job(ctx context.Context, namespace, id string) (scheduler.JobState, error)
	// Scale sets the count and returns the new modify index.
	Scale(ctx context.Context, namespace, id string, count int, index uint64, message string) (uint64, error)
	// Register registers a stored job with count and returns the new modify index.
	Register(ctx context.Context, job json.RawMessage, count int, index uint64) (uint64, error)
	// Drifted asks Nomad's plan whether registering job with count would change it.
	Drifted(ctx context.Context, job json.RawMessage, count int) (bool, error)
	// Evaluate makes Nomad try again to place what is missing.
	Evaluate(ctx context.Context, namespace, id string) error
	// ScaledByHand reports whether count is what somebody other than Wadi scaled the
	// job to last, and when. An error: that is not known, or not yet.
	ScaledByHand(ctx context.Context, namespace, id string, count int) (at time.Time, byHand bool, err error)
	// Stop ends a job's instances and keeps the job. One that does not exist is no error.
	// Nomad guards neither this nor Purge: who calls them has just read the job.
	Stop(ctx context.Context, namespace, id string) error
	// Purge stops a job and forgets it. A job that does not exist is no error.
	Purge(ctx context.Context, namespace, id string) error
}

// Cluster is what Nomad's event streams say, kept up to date by somebody else. A
// revision's job is always asked for in its service's namespace: in others anybody may
// have one of the same ID.
type Cluster interface {
	// Synced reports whether everything of a namespace was read since the stream was opened.
	Synced(namespace string) bool
	// Usable reports whether what is known of a namespace may be acted on: it is also for
	// a short time after the stream broke, so that nothing stands still while it is read anew.
	Usable(namespace string) bool
	Job(namespace, revision string) scheduler.JobState
	// Endpoints are the revision's instances, until the channel is closed.
	Endpoints(namespace, revision string) ([]wadi.Endpoint, <-chan struct{})
	// Diagnosis is what Nomad says hinders the revision; empty: nothing.
	Diagnosis(namespace, revision string) (reason string, since time.Time)
	// Changed returns a channel that is closed at the next change of anything.
	Changed() <-chan struct{}
}

// Store is the leader's part of the store. Its writes are check-and-set against
// what was read or written last.
type Store interface {
	// Watch calls changed with the names of services that somebody submitted or
	// deleted, all of them at first, until ctx ends.
	Watch(ctx context.Context, changed func(services []string)) error
	// Load reads a service; wadi.ErrNotFound when it is gone. With wadi.ErrUnreadable it
	// returns what can be read.
	Load(ctx context.Context, service string) (wadi.Stored, error)
	Revision(ctx context.Context, service, id string) (wadi.Revision, error)
	PutRoute(ctx context.Context, r wadi.Route) error
	PutState(ctx context.Context, service string, s wadi.State) error
	PutStatus(ctx context.Context, s wadi.Status) error
	DeleteRevision(ctx context.Context, service, id string) error
	Forget(ctx context.Context, service string) error
}

// Network is a network layer: it realises a route.
type Network interface {
	// Apply makes the layer carry the route. It is idempotent, and writes nothing
	// when nothing changed.
	Apply(ctx context.Context, r wadi.Route) error
	// Remove takes a service out of the layer.
	Remove(ctx context.Context, service string) error
	// Programmed reads back whether the layer carries the route, and says why not;
	// or what is amiss although it does.
	Programmed(ctx context.Context, r wadi.Route) (ok bool, why string, err error)
}

// Measure is what the instances and activators report of themselves.
type Measure interface {
	// Set replaces what is measured, and what tells.
	Set(revisions []Measured, sources []Source)
	// ReadyCount is the number of the revision's instances that answer as ready. known
	// is false while nobody knows that: a new leader has asked, and not been answered.
	ReadyCount(revision string) (ready int, known bool)
	// Ready reports whether an instance answered as ready last.
	Ready(instance string) bool
	// Load fills in what the revision's load is by concurrency and by each of some
	// metrics, over windows that end about now, and returns ReadyCount.
	Load(revision string, by []wadi.MetricTarget, stable, panicking time.Duration, into *scheduler.Loads) (ready int, known bool)
	// Confirm reads every source of the revision once more, so that what a pending
	// poll has not told yet is known before a count is lowered.
	Confirm(ctx context.Context, revision string)
	// Changed returns a channel that is closed when the readiness of an instance
	// changes.
	Changed() <-chan struct{}
}

// Orders tells instances whether they are to go, before the count is lowered.
type Orders interface {
	// Tell returns what the instance says to that; wadi.ErrNoOrders if it takes none.
	Tell(ctx context.Context, ep wadi.Endpoint, order wadi.Order) (wadi.OrderAnswer, error)
}

// Measured is a revision whose load is measured.
type Measured struct {
	ID      string
	Created time.Time
	Window  time.Duration // The longest that its load is averaged over.

	// Usage: what its instances use of processor and memory is measured too, namely
	// what Task does in Namespace.
	Usage           bool
	Namespace, Task string
}

// Source is something that serves statistics.
type Source struct {
	ID   string // Allocation ID, or agent name.
	Kind wadi.SourceKind
	Addr string // host:port of its metrics listener.

	Stopping bool      // It is told to stop, or believed to have gone.
	Seen     time.Time // Since when it is known to be there, whatever process it is now; zero: since that began.

	// Of an instance alone:

	Revision string
	Placed   time.Time
	Starting bool // Not known to have run: it has no load before it answers.
	Restarts int  // Of its tasks.
}
