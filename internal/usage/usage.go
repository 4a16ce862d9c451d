// Package usage reads the processor and memory use of instances, for revisions that scale
// by it.
//
// It promises that only these revisions are read, that an instance is read once every few
// seconds with a bounded number of reads at a time, and that unread use is reported as
// unknown, never as zero. A sample counts from the time when it was measured, not when it
// was read. It refuses to judge, and to reach back: Nomad keeps no history, so use before
// the first read is unknown.
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

	maxConcurrent  = 6 // Reads in flight: Nomad permits few connections.
	readTimeout    = 5 * time.Second
	pastAfter      = 10 * time.Second // An instance that is older when first seen has a past.
	warmUp         = 6 * time.Second  // An instance's use during its start does not count; and Nomad's first samples are zeros.
	minKeep        = 6 * time.Second
	tickEvery      = 250 * time.Millisecond
	readErrorAfter = 15 * time.Second // How long reads must fail before the error is shown: now and then, and at first, Nomad has no statistics.
)

// Instance is a running instance.
type Instance struct {
	ID        string // Allocation ID.
	Revision  string
	Namespace string
	Task      string // The serving task.
	Placed    time.Time
	Starting  bool // It may not have run yet.
	Restarts  int  // Number of restarts of its tasks.
}

// Revision is a revision that scales by the use of its instances.
type Revision struct {
	ID     string
	Window time.Duration // The longest averaging window.
}

// Reading is an instance's use at a time, in percent of what it requests.
type Reading struct {
	CPU, Memory float64
	At          time.Time // By the clock of its node.
}

// errStale says that the sample was read before. Nomad's client measures once per second,
// or has stopped measuring.
var errStale = errors.New("nomad's client repeats the same statistics")

// Reader reads the use of instances.
type Reader interface {
	Read(ctx context.Context, in Instance) (Reading, error)
	// Forget is called with an instance that is no longer read.
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
	past      []*series // Of ended instances, as long as a window reaches back to them.
}

type instance struct {
	Instance
	*series
	clock   nodeClock
	next    time.Time
	asking  bool
	failing time.Time // Since when every read has failed; zero: the last one succeeded.
	err     error     // Of the last read.
}

// New returns a Usage that follows nothing yet. reg may be nil.
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

// Set replaces the followed revisions and instances. A missing instance has ended.
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

// due marks and returns the instances to read now.
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

// ReadError is why the use of one of a revision's instances has not been read for a while,
// the first by ID; empty if all were read.
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
