package nomad

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/go-hclog"
	"github.com/wadi-run/wadi"
	"golang.org/x/sync/errgroup"
)

// Watcher keeps up one event stream and what it tells of our revisions. Set its
// fields before Run; the methods may be called at any time, by anybody.
//
// Until the first full read everything is empty: wait for Synced. When Nomad
// goes away the last known state stays.
type Watcher struct {
	Client *Client
	Log    hclog.Logger

	// Namespace to watch; empty is all ("*"), which the token must permit.
	Namespace string

	// Expect says in which Nomad namespace a revision's job is, where the agent
	// knows: such a job is ours whatever its meta says, and one of that ID in
	// another namespace is not. Others are ours if their meta says so. Nil knows
	// none. It is called by Run's goroutine.
	Expect func(revision string) (namespace string, ok bool)

	// FirstLine is how long to wait for the stream's first heartbeat (0: 3 s),
	// Silence how long a stream may say nothing (0: 90 s; Nomad's heartbeat
	// comes every 30 s).
	FirstLine, Silence time.Duration

	// Grace is how long after the stream broke what was known of it is good enough
	// to act on (0: 10 s). A reconnect takes less.
	Grace time.Duration

	once   sync.Once
	synced chan struct{}

	views   sync.Map                      // Revision → *view; written by Run's goroutine only.
	absent  atomic.Pointer[chan struct{}] // Closed when a revision appears.
	changed atomic.Pointer[chan struct{}] // Closed when anything changes.
	jobs    atomic.Pointer[jobsView]
	contact atomic.Int64 // Unix nanoseconds of the last line.
	up      atomic.Bool
	broke   atomic.Pointer[time.Time] // When up was last over; nil: never.
}

// JobState is what Nomad last said of a revision's job.
type JobState struct {
	Namespace      string
	Meta           map[string]string
	Count          int
	Version        uint64
	JobModifyIndex uint64
	Stopped        bool
}

// view is what readers get of a revision. It never changes.
type view struct {
	endpoints []wadi.Endpoint
	trouble   trouble
	changed   chan struct{}
}

type jobsView struct {
	jobs    map[string]JobState
	changed chan struct{}
}

func (w *Watcher) init() {
	w.once.Do(func() {
		w.synced = make(chan struct{})
		absent := make(chan struct{})
		w.absent.Store(&absent)
		changed := make(chan struct{})
		w.changed.Store(&changed)
		w.jobs.Store(&jobsView{changed: make(chan struct{})})
		if w.Log == nil {
			w.Log = hclog.NewNullLogger()
		}
		if w.FirstLine == 0 {
			w.FirstLine = 3 * time.Second
		}
		if w.Silence == 0 {
			w.Silence = 90 * time.Second
		}
		if w.Grace == 0 {
			w.Grace = 10 * time.Second
		}
		if w.Namespace == "" {
			w.Namespace = "*"
		}
	})
}

// Endpoints returns the instances of a revision, oldest first, and a channel
// that is closed when they, or the revision's trouble, change. The slice must
// not be written to. Those that have ended are in it for a while, but when a job
// is purged all go at once: Nomad says no more of them, though their processes
// may need seconds to end.
func (w *Watcher) Endpoints(revision string) ([]wadi.Endpoint, <-chan struct{}) {
	w.init()
	absent := *w.absent.Load() // Before the look-up, else an appearance between the two is missed.
	if v, ok := w.views.Load(revision); ok {
		v := v.(*view)
		return v.endpoints, v.changed
	}
	return nil, absent
}

// Changed returns a channel that is closed at the next change of any job,
// instance or trouble. Take it before reading what may change.
func (w *Watcher) Changed() <-chan struct{} {
	w.init()
	return *w.changed.Load()
}

// Trouble says why Nomad can't run instances of a revision, and since when this
// agent has known; empty if nothing is known against it.
func (w *Watcher) Trouble(revision string) (reason string, since time.Time) {
	w.init()
	if v, ok := w.views.Load(revision); ok {
		return v.(*view).trouble.at(time.Now())
	}
	return "", time.Time{}
}

// Jobs returns our jobs by ID, and a channel that is closed when they change.
// The map must not be written to.
func (w *Watcher) Jobs() (map[string]JobState, <-chan struct{}) {
	w.init()
	v := w.jobs.Load()
	return v.jobs, v.changed
}

// Synced is closed once everything has been read for the first time.
func (w *Watcher) Synced() <-chan struct{} {
	w.init()
	return w.synced
}

// Connected tells whether the stream is up and all has been read since it came up.
func (w *Watcher) Connected() bool { return w.up.Load() }

// Usable tells whether what is known may be acted on: the stream is up, or broke so
// short a time ago that its state is as good as one that arrives late. Changes of
// jobs are guarded by the index that they were seen at.
func (w *Watcher) Usable() bool {
	w.init()
	if w.up.Load() {
		return true
	}
	broke := w.broke.Load()
	return broke != nil && time.Since(*broke) < w.Grace
}

// LastContact is when the stream last said something; zero if never.
func (w *Watcher) LastContact() time.Time {
	if n := w.contact.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// Run watches until ctx ends. It reconnects for ever, and reads everything anew
// each time, because a broken stream may have missed something.
func (w *Watcher) Run(ctx context.Context) error {
	w.init()
	s := newState(w.Expect)
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 100*time.Millisecond, 5*time.Second
	told := false // That Nomad is away; said once.
	for {
		err := w.follow(ctx, s)
		if ctx.Err() != nil {
			return nil
		}
		if w.up.Load() {
			now := time.Now()
			w.broke.Store(&now) // First, so that it is usable at every moment.
			w.up.Store(false)
			b.Reset()
			told = false
		}
		if !told {
			w.Log.Warn("nomad's event stream is away", "error", err)
			told = true
		}
		if sleep(ctx, b.NextBackOff()) != nil {
			return nil
		}
	}
}

// follow reads everything and then follows one stream until it breaks.
func (w *Watcher) follow(ctx context.Context, s *state) error {
	g, ctx := errgroup.WithContext(ctx)
	lines := make(chan []event)
	g.Go(func() error {
		return w.Client.stream(ctx, w.Namespace, w.FirstLine, func(es []event) error {
			w.contact.Store(time.Now().UnixNano())
			select {
			case lines <- es:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	g.Go(func() error {
		// The stream is open first and waits meanwhile, so nothing falls between.
		select {
		case <-lines:
		case <-ctx.Done():
			return nil
		}
		if err := w.read(ctx, s); err != nil {
			return err
		}
		w.publish(s)
		w.markUp()
		return w.apply(ctx, s, lines)
	})
	return g.Wait()
}

func (w *Watcher) markUp() {
	w.up.Store(true)
	select {
	case <-w.synced:
		w.Log.Info("nomad's event stream is back")
	default:
		close(w.synced)
	}
}

// apply takes line after line into s until the stream ends or falls silent.
func (w *Watcher) apply(ctx context.Context, s *state, lines <-chan []event) error {
	silent := time.NewTimer(w.Silence)
	defer silent.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil // The reader says why.
		case <-silent.C:
			return errors.New("event stream fell silent")
		case es := <-lines:
			silent.Reset(w.Silence)
			for _, e := range es {
				if err := s.event(e); err != nil {
					return err
				}
			}
			w.publish(s)
		}
	}
}

// read asks for everything there is.
func (w *Watcher) read(ctx context.Context, s *state) error {
	jobs, index, err := w.Client.Jobs(ctx, w.Client.own, w.Namespace, s.ours)
	if err != nil {
		return err
	}
	var allocs []allocation
	q := w.Client.query(ctx, w.Client.own, w.Namespace)
	q.Filter = `ClientStatus != "complete"`
	qm, err := w.Client.api.Raw().Query("/v1/allocations?resources=true", &allocs, q)
	if err != nil {
		return translate(err)
	}
	var evals []evaluation
	q = w.Client.query(ctx, w.Client.own, w.Namespace)
	q.Filter = `Status == "blocked"`
	qe, err := w.Client.api.Raw().Query("/v1/evaluations", &evals, q)
	if err != nil {
		return translate(err)
	}
	s.replace(full{jobs, index, allocs, qm.LastIndex, evals, qe.LastIndex})
	return nil
}
