// Package loads keeps the load of each service by minute, for a day.
//
// It promises that what is kept is bounded, that a minute that no leader saw is never taken
// for one without load, and that little is written: a service with load every ten minutes, one
// without every hour. It refuses to decide anything by it. What a source did not report in time
// counts as without load.
package loads

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// Service is a service whose load is kept.
type Service struct {
	Name      string
	Revisions []string
}

// Meter reads measured loads.
type Meter interface {
	// Seconds calls add with the load of each second of a revision that had any, from one
	// to before another, in Unix seconds.
	Seconds(revision string, from, to int64, add func(second int64, concurrency, begun float64))
}

// Store is where the leader keeps loads.
type Store interface {
	// UpdateLoadHistory changes the kept load of a service; zero: there is none.
	UpdateLoadHistory(ctx context.Context, service string, change func(wadi.LoadHistory) wadi.LoadHistory) error
}

// Recorder keeps the loads of one term of leadership. Its exported fields are set before
// Run.
type Recorder struct {
	Services func() []Service
	Meter    Meter
	Store    Store
	Log      hclog.Logger

	mu       sync.Mutex
	services map[string]*record
}

const (
	readEvery = 5 * time.Second
	// late is for how long a second is waited for: sources are read every one or two.
	late = 4
	// maxCatchUp is how many seconds one reading covers. Windows may be as short as 6 s, and
	// are kept for 5 s more.
	maxCatchUp = 10
	// setBack is by how many seconds a clock has to be set back to be believed at once. After
	// less, the seconds that come a second time are left out.
	setBack = 60

	writeTimeout = 10 * time.Second // Of one pass of writes.
	lastTimeout  = time.Second      // Of the last one, which the next leader waits for.
	writesAtOnce = 4
)

// Run records until ctx ends, and then stores what is not stored yet.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
			defer cancel()
			now := time.Now()
			r.Read(now)
			r.write(ctx, now, true)
			return nil
		case <-tick.C:
		}
		now := time.Now()
		r.Read(now)
		pass, cancel := context.WithTimeout(ctx, writeTimeout)
		r.write(pass, now, false)
		cancel()
	}
}

// Read takes over the seconds that are over since the last call.
func (r *Recorder) Read(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.services == nil {
		r.services = map[string]*record{}
	}
	to := now.Unix() - late
	seen := make(map[string]bool, len(r.services))
	for _, s := range r.Services() {
		seen[s.Name] = true
		rec := r.services[s.Name]
		if rec == nil {
			rec = newRecord(s.Name, to, now)
			r.services[s.Name] = rec
		}
		rec.read(s.Revisions, r.Meter, to)
	}
	for name := range r.services {
		if !seen[name] {
			delete(r.services, name)
		}
	}
}

// Add is a stored history of a service with what is not stored yet, the present minute
// included.
func (r *Recorder) Add(service string, h wadi.LoadHistory) wadi.LoadHistory {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.services[service]
	if rec == nil {
		return h
	}
	h = h.With(rec.from, rec.minute, rec.busy)
	if rec.seconds > 0 {
		h = h.With(rec.minute, rec.minute+1, []wadi.LoadMinute{rec.present()})
	}
	return h
}
