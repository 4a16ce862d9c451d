// Package activator queues requests while no instance can take them, wakes the
// revision, picks an instance and forwards.
//
// It promises one wake per revision however many requests wait; that callers take
// turns, and the requests of one caller are first come, first served; that a request
// leaves the queue as soon as its client has gone; and that nothing waits without a
// bound in number, in bytes and in time.
// A revision without requests and without instances costs nothing.
//
// It refuses to decide how many instances there are: the Waker and the autoscaler do.
// It knows neither Nomad nor Consul nor certificates, and it never reads a body while
// its request waits.
//
// A revision is composed of a queue, a pool of instances, a waker, and the requests in
// flight. Its one mutex guards all four; see revision.
package activator

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/internal/backlog"
	"github.com/wadi-run/wadi/proxy/stats"
)

// Activator is the core to which gateway and mesh listener hand their requests.
// Requests that have to wait are served only while Run runs.
type Activator struct {
	cfg     Config
	metrics *metrics
	clock   *stats.Clock
	wakes   *wakeLimiter
	backlog *backlog.Set
	budget  budget
	records atomic.Bool  // Requests may carry a RequestRecord.
	peers   atomic.Int64 // Activators that share the instances, this one included.
	probing atomic.Int64 // Probes under way, of all revisions.

	revisions atomic.Pointer[map[string]*revision] // By ID; replaced whole.
	deleted   atomic.Pointer[map[string]bool]      // Services that are being deleted; replaced whole.
	splits    atomic.Pointer[map[string]*split]    // By service; replaced whole.
	redirects atomic.Pointer[map[string]redirects] // By service; replaced whole.

	active    atomic.Int64 // Requests inside.
	draining  atomic.Bool
	goingAway atomic.Bool   // Upgraded connections get a GoAway at once.
	idle      chan struct{} // Signals, while draining, that active became 0.

	toStart chan struct{} // Signals that starts has something.

	mu      sync.Mutex
	stopped bool
	starts  []*revision // Run has to start their loops.
}

// New checks cfg. It starts nothing; Run does.
func New(cfg Config) (*Activator, error) {
	switch {
	case cfg.Name == "" || cfg.Boot == "":
		return nil, errors.New("activator: name and boot are required")
	case cfg.Endpoints == nil || cfg.Waker == nil || cfg.Diagnoses == nil || cfg.Dialer == nil:
		return nil, errors.New("activator: endpoints, waker, diagnoses and dialer are required")
	case cfg.Log == nil || cfg.Registerer == nil:
		return nil, errors.New("activator: log and registerer are required")
	}
	cfg.Settings = cfg.withDefaults()
	cfg.History = cmp.Or(cfg.History, time.Hour)
	a := &Activator{
		cfg:     cfg,
		clock:   stats.NewClock(),
		wakes:   newWakeLimiter(cfg.MaxWakes),
		budget:  budget{maxCount: int64(cfg.MaxWaiting), maxBytes: cfg.MaxWaitingBytes},
		idle:    make(chan struct{}, 1),
		toStart: make(chan struct{}, 1),
		backlog: backlog.New(),
	}
	a.records.Store(cfg.RequestRecords)
	a.metrics = newMetrics(cfg.Registerer, a.conns)
	a.peers.Store(1)
	a.revisions.Store(&map[string]*revision{})
	a.deleted.Store(&map[string]bool{})
	a.splits.Store(&map[string]*split{})
	a.redirects.Store(&map[string]redirects{})
	return a, nil
}

// SetPeers sets how many activators there are, this one included: they share the
// instances of a revision with a concurrency limit.
func (a *Activator) SetPeers(n int) {
	if a.peers.Swap(int64(max(1, n))) == int64(max(1, n)) {
		return
	}
	for _, r := range *a.revisions.Load() {
		r.reshare()
	}
}

// Run serves waiting requests until ctx ends, and returns when all goroutines that it
// started have ended. Requests that still wait then are refused.
func (a *Activator) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { a.wakes.run(ctx, a.wake) })
	for {
		select {
		case <-a.toStart:
			for _, r := range a.takeStarts(false) {
				running.Go(func() { r.run(ctx) })
			}
		case <-ctx.Done():
			for _, r := range a.takeStarts(true) {
				r.stop()
			}
			return nil
		}
	}
}

// Drain takes no new requests, and waits until the requests inside are answered and the
// upgraded connections are closed, or until ctx ends. Run has to go on meanwhile.
func (a *Activator) Drain(ctx context.Context) error {
	a.draining.Store(true)
	a.GoAway()
	for a.active.Load() > 0 {
		select {
		case <-a.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Recorders returns the statistics of every revision that had a request here.
func (a *Activator) Recorders() []*stats.Recorder {
	var all []*stats.Recorder
	for _, r := range *a.revisions.Load() {
		if rec := r.recorder.Load(); rec != nil {
			all = append(all, rec)
		}
	}
	return all
}

// StatsHandler serves the statistics of all revisions, as lines of JSON. Before there
// is one it serves a line without a revision, so that the reader knows which process
// answers, and since when it runs.
func (a *Activator) StatsHandler() http.Handler {
	none := []*stats.Recorder{a.clock.NewRecorder(a.cfg.Name, a.cfg.Boot, "", time.Second)}
	return stats.HandlerOfMany(a.clock, func() []*stats.Recorder {
		if all := a.Recorders(); len(all) > 0 {
			return all
		}
		return none
	})
}

// Backlog is the set of revisions whose queues have grown here. The activator only adds
// to it.
func (a *Activator) Backlog() *backlog.Set { return a.backlog }

// start asks Run for r's loop. It reports false when Run has ended.
func (a *Activator) start(r *revision) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return false
	}
	a.starts = append(a.starts, r)
	signal(a.toStart)
	return true
}

func (a *Activator) takeStarts(stop bool) []*revision {
	a.mu.Lock()
	defer a.mu.Unlock()
	rs := a.starts
	a.starts = nil
	a.stopped = a.stopped || stop
	return rs
}

// Active is how many requests are inside: waiting or at an instance, upgraded connections
// included.
func (a *Activator) Active() int { return int(a.active.Load()) }

// enter counts a request in. It reports false while draining.
func (a *Activator) enter() bool {
	a.active.Add(1)
	if a.draining.Load() {
		a.exit()
		return false
	}
	return true
}

func (a *Activator) exit() {
	if a.active.Add(-1) == 0 && a.draining.Load() {
		signal(a.idle)
	}
}

// conns counts the HTTP/1.1 connections to instances.
func (a *Activator) conns() (open, idle int) {
	for _, r := range *a.revisions.Load() {
		r.mu.Lock()
		for _, i := range r.pool.instances {
			o, n := i.upstream.Conns()
			open, idle = open+o, idle+n
		}
		r.mu.Unlock()
	}
	return open, idle
}

// signal sends on c, which has capacity one, unless a signal is pending.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// recorderOf returns r's statistics, made at its first request: they are large.
func (a *Activator) recorderOf(r *revision) *stats.Recorder {
	if rec := r.recorder.Load(); rec != nil {
		return rec
	}
	rec := a.clock.NewRecorder(a.cfg.Name, a.cfg.Boot, r.id, a.cfg.History)
	if r.recorder.CompareAndSwap(nil, rec) {
		return rec
	}
	return r.recorder.Load()
}
