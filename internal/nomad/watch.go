package nomad

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/wadi-run/wadi"
)

// Watcher keeps event streams open, and the state of revisions' jobs up to date: one
// stream of all namespaces where the token may read each of them, otherwise one per
// requested namespace. Set its fields before Run. Its methods are safe for concurrent use,
// also before Run. An empty namespace is Nomad's default.
//
// A job is known by namespace and ID, never by ID alone. Until the first full read
// everything is empty: wait for Synced. While Nomad is unavailable the last known state
// stays.
type Watcher struct {
	Client *Client
	Log    hclog.Logger

	// Namespaces returns the namespaces of services, if they are known yet: they are
	// watched before anything in them is requested. Nil has none. Run's goroutine calls
	// it.
	Namespaces func() (all []string, known bool)

	// Reread is called by Run's goroutine with every revision's job that a full read
	// found, and with index 0 for a known job that it did not find, before readers see the
	// result. Indexes may have gone back: Nomad may have been restored, or have started
	// with an empty state. Nil is not called.
	Reread func(namespace, revision string, index uint64)

	// FirstLine is how long to wait for a stream's first heartbeat (0: 3 s), Silence how
	// long a stream may be silent (0: 90 s; Nomad sends a heartbeat every 30 s).
	FirstLine, Silence time.Duration

	// Grace is how long the state may be acted on after a stream broke (0: 10 s). A
	// reconnect takes less.
	Grace time.Duration

	// RestoreCheck is how often the Watcher checks whether Nomad's index of jobs has gone
	// back (0: 5 s).
	RestoreCheck time.Duration

	once    sync.Once
	synced  chan struct{}
	refresh chan struct{}

	views     sync.Map                      // key → *view; written by Run's goroutine only.
	requested sync.Map                      // Uncovered namespace → when it was last requested.
	absent    atomic.Pointer[chan struct{}] // Closed when a revision appears.
	changed   atomic.Pointer[chan struct{}] // Closed when anything changes.
	news      news
	lastLine  atomic.Int64 // Unix nanoseconds of the last line.
	states    atomic.Pointer[streamStates]
}

// JobState is the last known state of a revision's job.
type JobState struct {
	Count          int
	Version        uint64
	JobModifyIndex uint64
	Stopped        bool
}

// view is a revision's state for readers. It never changes.
type view struct {
	job       JobState
	endpoints []wadi.Endpoint
	exits     []wadi.Exit
	diagnosis diagnosis
	changed   chan struct{}
}

func (w *Watcher) init() {
	w.once.Do(func() {
		w.synced, w.refresh = make(chan struct{}), make(chan struct{}, 1)
		absent := make(chan struct{})
		w.absent.Store(&absent)
		changed := make(chan struct{})
		w.changed.Store(&changed)
		w.states.Store(&streamStates{})
		if w.Log == nil {
			w.Log = hclog.NewNullLogger()
		}
		if w.Namespaces == nil {
			w.Namespaces = func() ([]string, bool) { return nil, true }
		}
		w.FirstLine = cmp.Or(w.FirstLine, 3*time.Second)
		w.Silence = cmp.Or(w.Silence, 90*time.Second)
		w.Grace = cmp.Or(w.Grace, 10*time.Second)
		w.RestoreCheck = cmp.Or(w.RestoreCheck, 5*time.Second)
	})
}

// lookUp returns the view of a revision's job, and makes its namespace watched.
func (w *Watcher) lookUp(namespace, revision string) (*view, bool) {
	w.init()
	k := keyOf(namespace, revision)
	w.request(k.namespace)
	v, ok := w.views.Load(k)
	if !ok {
		return nil, false
	}
	return v.(*view), true
}

// watchedFor is how long a namespace is watched after its last request.
const watchedFor = 5 * time.Minute

// request makes a namespace watched that the stream of all does not cover.
func (w *Watcher) request(namespace string) {
	if w.states.Load().all.covers(namespace) {
		return
	}
	now := time.Now()
	last, ok := w.requested.Load(namespace)
	if ok && now.Sub(last.(time.Time)) < watchedFor/10 {
		return
	}
	w.requested.Store(namespace, now)
	if !ok {
		w.Refresh()
	}
}

// Refresh makes Run call Namespaces at once, and wakes callers that wait for a revision
// to appear: it may be expected in another namespace now.
func (w *Watcher) Refresh() {
	w.init()
	broadcast(&w.absent)
	select {
	case w.refresh <- struct{}{}:
	default:
	}
}

// Job returns the state of a revision's job; false if there is none.
func (w *Watcher) Job(namespace, revision string) (JobState, bool) {
	if v, ok := w.lookUp(namespace, revision); ok {
		return v.job, true
	}
	return JobState{}, false
}

// Endpoints returns the instances of a revision, oldest first, and a channel that is
// closed when they, or the revision's diagnosis, change. The slice must not be written to.
// Ended instances stay in it for a while. But when a job is purged, all its instances
// vanish at once: Nomad no longer reports them, though their processes may need seconds to
// end.
func (w *Watcher) Endpoints(namespace, revision string) ([]wadi.Endpoint, <-chan struct{}) {
	w.init()
	absent := *w.absent.Load() // Loaded before the look-up, so that no appearance in between is missed.
	if v, ok := w.lookUp(namespace, revision); ok {
		return v.endpoints, v.changed
	}
	return nil, absent
}

// Changed returns a channel that is closed at the next change of any job, instance or
// diagnosis. Take it before reading the state.
func (w *Watcher) Changed() <-chan struct{} {
	w.init()
	return *w.changed.Load()
}

// TakeChanged returns the services of the jobs that have changed since it was called last, or
// whose instances or diagnosis have; all: those of any namespace may have. It has one caller
// at a time; others use Changed alone.
func (w *Watcher) TakeChanged() (services []string, all bool) { return w.news.take() }

// Diagnosis is why Nomad can't run instances of a revision, and since when this
// agent has known; the zero value if nothing is known against it.
func (w *Watcher) Diagnosis(namespace, revision string) wadi.Diagnosis {
	if v, ok := w.lookUp(namespace, revision); ok {
		return v.diagnosis.visibleAt(time.Now())
	}
	return wadi.Diagnosis{}
}

// Synced is closed when everything that the token may read has been read for the first
// time.
func (w *Watcher) Synced() <-chan struct{} {
	w.init()
	return w.synced
}

// Up reports whether some stream is up: Nomad is available.
func (w *Watcher) Up() bool {
	w.init()
	return w.states.Load().anyUp()
}

// Unwatched lists the requested namespaces that no stream covers, though there are streams
// of others.
func (w *Watcher) Unwatched() []string {
	w.init()
	return slices.Clone(w.states.Load().unwatched)
}

// Connected reports whether the state of a namespace is up to date: a stream of it is up,
// and everything has been read since it came up.
func (w *Watcher) Connected(namespace string) bool {
	w.init()
	namespace = orDefault(namespace)
	w.request(namespace)
	return w.states.Load().up(namespace)
}

// Usable reports whether the state of a namespace may be acted on: its stream is up, or
// broke so recently that the state is as good as one that arrives late. Changes of jobs
// are guarded by the index at which they were seen.
func (w *Watcher) Usable(namespace string) bool {
	w.init()
	namespace = orDefault(namespace)
	w.request(namespace)
	return w.states.Load().usable(namespace, time.Now(), w.Grace)
}

// LastContact is when a stream last had a line; zero if never.
func (w *Watcher) LastContact() time.Time {
	if n := w.lastLine.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// Run watches until ctx ends. It reconnects for ever, and reads everything again each
// time, because a broken stream may have missed changes.
func (w *Watcher) Run(ctx context.Context) error {
	w.init()
	s := &streams{w: w, state: newState(), single: map[string]*subscription{}, updates: make(chan update)}
	defer s.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.all = s.start(ctx, everywhere)
	restored := make(chan struct{})
	s.running.Go(func() {
		w.watchRestores(ctx, func() {
			select {
			case restored <- struct{}{}:
			case <-ctx.Done():
			}
		})
	})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-s.updates:
			s.apply(n)
		case <-restored:
			s.reopenAll(ctx)
		case <-w.refresh:
		case <-tick.C:
		}
		s.reconcile(ctx)
	}
}
