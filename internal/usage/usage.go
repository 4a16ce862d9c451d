// Package usage reads what instances use of processor and memory, for revisions
// that are scaled by it.
//
// It promises that nothing is asked about other revisions, that an instance is
// asked once every few seconds and only so many at a time, and that what was not
// answered is told as unknown, never as zero. A figure counts from when it was measured,
// not from when it was read. It refuses to judge, and to reach back: Nomad keeps no
// history, so what was used before it was asked is unknown.
package usage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// Every is how often an instance is read.
	Every = 3 * time.Second

	maxConcurrent  = 6 // Readings under way: Nomad permits few connections.
	readTimeout    = 5 * time.Second
	pastAfter      = 10 * time.Second // An instance that is older when first seen has a past.
	warmUp         = 6 * time.Second  // What an instance uses at first is its start; and Nomad's first figures are zeros.
	minKeep        = 6 * time.Second
	tickEvery      = 250 * time.Millisecond
	readErrorAfter = 15 * time.Second // After which it is said why: at first, and now and then, Nomad has nothing to tell.
)

// Instance is one that runs.
type Instance struct {
	ID        string // Allocation ID.
	Revision  string
	Namespace string
	Task      string // The serving one.
	Placed    time.Time
	Starting  bool // Not known to have run.
	Restarts  int  // Of its tasks.
}

// Revision is one that is scaled by what its instances use.
type Revision struct {
	ID     string
	Window time.Duration // The longest that is averaged over.
}

// Reading is what an instance used at a time, in percent of what it asked for.
type Reading struct {
	CPU, Memory float64
	At          time.Time // By the clock of its node.
}

// errStale: what was told was told before. Nomad's client measures once a second, or has
// stopped to.
var errStale = errors.New("nomad's client repeats the same statistics")

// Reader asks for what an instance uses.
type Reader interface {
	Read(ctx context.Context, in Instance) (Reading, error)
	// Forget is told of an instance that is not read any more.
	Forget(id string)
}

// Usage follows instances. It is safe for concurrent use.
type Usage struct {
	reader   Reader
	log      hclog.Logger
	failures prometheus.Counter

	mu        sync.Mutex
	revisions map[string]*revision
}

type revision struct {
	Revision
	instances map[string]*instance
	past      []*series // Of instances that have gone, as long as a window reaches back to them.
}

type instance struct {
	Instance
	*series
	clock   nodeClock
	next    time.Time
	asking  bool
	failing time.Time // Since then each reading has failed; zero: the last one did not.
	err     error     // Of the last one.
}

// New returns one that follows nothing yet. reg may be nil.
func New(reader Reader, log hclog.Logger, reg prometheus.Registerer) *Usage {
	u := &Usage{reader: reader, log: log, revisions: map[string]*revision{}}
	u.failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "wadi_usage_failures_total", Help: "Readings of an instance's processor and memory that failed.",
	})
	if reg != nil {
		reg.MustRegister(u.failures)
	}
	return u
}

// Set replaces what is followed. An instance that is missing has ended.
func (u *Usage) Set(revisions []Revision, instances []Instance) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	next := make(map[string]*revision, len(revisions))
	for _, r := range revisions {
		r.Window = max(minKeep, r.Window)
		rev := u.revisions[r.ID]
		if rev == nil {
			rev = &revision{instances: map[string]*instance{}}
		}
		rev.Revision = r
		next[r.ID] = rev
	}
	listed := make(map[string]bool, len(instances))
	for _, in := range instances {
		rev := next[in.Revision]
		if rev == nil {
			continue
		}
		listed[in.ID] = true
		rev.track(in, now)
	}
	for id, rev := range u.revisions {
		for _, in := range rev.instances {
			if next[id] == nil || !listed[in.ID] {
				u.end(rev, in, now)
			}
		}
	}
	u.revisions = next
}

func (u *Usage) end(rev *revision, in *instance, now time.Time) {
	delete(rev.instances, in.ID)
	u.reader.Forget(in.ID)
	rev.endSeries(in, now)
}

// Run reads until ctx ends.
func (u *Usage) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, maxConcurrent)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, in := range u.due(time.Now()) {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			wg.Go(func() {
				defer func() { <-free }()
				u.read(ctx, in)
			})
		}
	}
}

// due marks and returns what is to be read now.
func (u *Usage) due(now time.Time) []Instance {
	u.mu.Lock()
	defer u.mu.Unlock()
	var due []Instance
	for _, rev := range u.revisions {
		for _, in := range rev.instances {
			if !in.asking && !in.Starting && !now.Before(in.next) {
				in.asking, in.next = true, now.Add(Every)
				due = append(due, in.Instance)
			}
		}
	}
	return due
}

func (u *Usage) read(ctx context.Context, in Instance) {
	asking, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	got, err := u.reader.Read(asking, in)
	u.mu.Lock()
	defer u.mu.Unlock()
	rev := u.revisions[in.Revision]
	if rev == nil || rev.instances[in.ID] == nil || ctx.Err() != nil {
		return
	}
	i, now := rev.instances[in.ID], time.Now()
	i.asking = false
	var at time.Time
	if err == nil {
		at, err = i.clock.localTime(got.At, now)
	}
	if err != nil {
		u.failures.Inc()
		if i.failing.IsZero() {
			u.log.Debug("usage of an instance can't be read", "instance", in.ID, "revision", in.Revision, "error", err)
			i.failing = now
		}
		i.err = err
		return
	}
	i.failing, i.err = time.Time{}, nil
	if i.from.IsZero() {
		i.from = at.Add(warmUp)
	}
	if at.Before(i.from) || len(i.samples) > 0 && !at.After(i.samples[len(i.samples)-1].at) {
		return
	}
	i.samples = append(i.samples, sample{at: at, cpu: got.CPU, memory: got.Memory})
	rev.prune(now)
}

// ReadError says why what a revision's instances use has not been read for a while,
// of the first of them; empty: it has.
func (u *Usage) ReadError(id string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	rev, now := u.revisions[id], time.Now()
	if rev == nil {
		return ""
	}
	for _, alloc := range slices.Sorted(maps.Keys(rev.instances)) {
		if i := rev.instances[alloc]; !i.failing.IsZero() && now.Sub(i.failing) >= readErrorAfter {
			return i.err.Error()
		}
	}
	return ""
}

func (r *revision) prune(now time.Time) {
	before := now.Add(-r.Window - sampleValidFor)
	kept := r.past[:0]
	for _, s := range r.past {
		if s.ended.After(before) {
			kept = append(kept, s)
		}
	}
	clear(r.past[len(kept):])
	r.past = kept
	for _, in := range r.instances {
		in.prune(before)
	}
}
