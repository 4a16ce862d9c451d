package activator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// The time that Nomad takes to place an instance shows whether it keeps up: it accepts
// scale calls far faster than it places, without a sign.
const (
	placedSlowly  = 2 * time.Second
	placedQuickly = 500 * time.Millisecond
	slowDownEvery = time.Second // Wakes that began before the last slowing are no reason for another.
)

// pace is how many wakes may begin in a second.
type pace struct {
	most, rate float64
	slowed     time.Time // When rate was last reduced.
}

// after is the pace after an instance was placed so long after its wake began: half when
// that was slow, and step by step up to the most again.
func (p pace) after(took time.Duration, now time.Time) pace {
	switch {
	case took >= placedSlowly && now.Sub(p.slowed) >= slowDownEvery:
		p.rate, p.slowed = max(min(1, p.most), p.rate/2), now
	case took <= placedQuickly:
		p.rate = min(p.most, p.rate+p.most/20)
	}
	return p
}

// bounded is the pace with another bound. It begins at the bound if it was at the old one.
func (p pace) bounded(most float64) pace {
	if p.rate >= p.most {
		p.rate = most
	}
	p.most, p.rate = most, min(p.rate, most)
	return p
}

// wakeLimiter begins the wakes of all revisions, those with the oldest request first, and
// at most so many per second. Each revision's waker asks for one wake at a time. It has
// a mutex of its own; a revision may hold its own mutex when it calls.
type wakeLimiter struct {
	notify chan struct{}

	mu      sync.Mutex
	pace    pace
	pending map[*revision]time.Time // When the revision's oldest request came.
	running int
	idle    chan struct{} // Closed when none is pending or running; nil: there is no reader.

	begun []time.Time // Ring of the latest, as long as the most of a second; owned by run.
	next  int
}

func newWakeLimiter(perSecond float64) *wakeLimiter {
	return &wakeLimiter{
		notify:  make(chan struct{}, 1),
		pace:    pace{most: perSecond, rate: perSecond},
		pending: make(map[*revision]time.Time),
		begun:   make([]time.Time, max(1, int(perSecond))),
	}
}

// placed adapts the pace to how long after its wake an instance was placed.
func (k *wakeLimiter) placed(took time.Duration, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pace = k.pace.after(took, now)
}

// set changes how many may begin in a second at most.
func (k *wakeLimiter) set(most float64) {
	k.mu.Lock()
	k.pace = k.pace.bounded(most)
	k.mu.Unlock()
	signal(k.notify)
}

// most is how many may begin in a second while Nomad keeps up.
func (k *wakeLimiter) most() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pace.most
}

// resize gives the ring the length of a new bound. The latest wakes stay in it: a second
// has no more wakes than the bound in force at its end.
func (k *wakeLimiter) resize() {
	size := max(1, int(k.most()))
	if size == len(k.begun) {
		return
	}
	ring := make([]time.Time, size)
	for i := range min(size, len(k.begun)) { // The latest last.
		ring[size-1-i] = k.begun[(k.next+2*len(k.begun)-1-i)%len(k.begun)]
	}
	k.begun, k.next = ring, 0
}

// rate is how many may begin in a second now.
func (k *wakeLimiter) rate() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pace.rate
}

// nextAt is when the next may begin: at a rate of n a second, when the n-th last
// one was a second ago.
func (k *wakeLimiter) nextAt() time.Time {
	rate := k.rate()
	n := max(1, min(len(k.begun), int(rate)))
	last := k.begun[(k.next+len(k.begun)-n)%len(k.begun)]
	return last.Add(time.Duration(float64(n) / rate * float64(time.Second)))
}

// ask queues a wake of r, whose oldest request came then.
func (k *wakeLimiter) ask(r *revision, oldest time.Time) {
	k.mu.Lock()
	k.pending[r] = oldest
	k.mu.Unlock()
	signal(k.notify)
}

// oldest takes the pending revision with the oldest request, and counts its wake as
// running. Some revision has to be pending.
func (k *wakeLimiter) oldest() *revision {
	k.mu.Lock()
	defer k.mu.Unlock()
	var first *revision
	for r, since := range k.pending {
		if first == nil || since.Before(k.pending[first]) {
			first = r
		}
	}
	delete(k.pending, first)
	k.running++
	return first
}

// ended notes that a wake has ended.
func (k *wakeLimiter) ended() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running--
	if k.idle != nil && len(k.pending)+k.running == 0 {
		close(k.idle)
		k.idle = nil
	}
}

// busy returns a channel that is closed when no wake is pending or running; nil: none is.
func (k *wakeLimiter) busy() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pending)+k.running == 0 {
		return nil
	}
	if k.idle == nil {
		k.idle = make(chan struct{})
	}
	return k.idle
}

func (k *wakeLimiter) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pending) == 0
}

// run begins the wakes that are asked for until ctx ends, and waits for those it began.
func (k *wakeLimiter) run(ctx context.Context, wake func(context.Context, *revision)) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		var due <-chan time.Time
		k.resize()
		if !k.empty() {
			wait := time.Until(k.nextAt())
			if wait <= 0 {
				r := k.oldest()
				k.begun[k.next] = time.Now()
				k.next = (k.next + 1) % len(k.begun)
				running.Go(func() {
					defer k.ended()
					wake(ctx, r)
				})
				continue
			}
			due = time.After(wait)
		}
		select {
		case <-k.notify:
		case <-due:
		case <-ctx.Done():
			return
		}
	}
}

// Waking returns a channel that is closed when no wake is due or under way any more; nil
// if none is. The autoscaler waits for it before it raises counts: wakes go first.
func (a *Activator) Waking() <-chan struct{} { return a.wakes.busy() }

// wake calls the Waker once for r, and reports the result to r.
func (a *Activator) wake(ctx context.Context, r *revision) {
	if r.isClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	r.wakeBegins(time.Now())
	err := a.cfg.Waker.Wake(ctx, r.id)
	result := "ok"
	switch {
	case errors.Is(err, wadi.ErrUnplaceable):
		result = "unplaceable"
	case err != nil:
		result = "error"
	}
	a.metrics.wakes.WithLabelValues(result).Inc()
	if err != nil && ctx.Err() == nil {
		a.cfg.Log.Warn("wake refused", "service", r.service, "revision", r.id, "error", err)
	}
	r.wakeEnded(err, time.Now())
}
