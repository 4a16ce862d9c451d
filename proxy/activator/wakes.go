package activator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// Bounds of waking one revision.
const (
	wakeTimeout  = 30 * time.Second // Of one call.
	wakeBackoff  = 50 * time.Millisecond
	wakeMaxDelay = 2 * time.Second
	// wakeAgain is when a wake that brought no instance to sight is repeated:
	// somebody may have set the count back to zero in between.
	wakeAgain = 5 * time.Second
)

// By how long Nomad takes to place an instance it shows whether it keeps up: it
// takes scale calls far faster than it places, and says nothing of that.
const (
	placedSlowly  = 2 * time.Second
	placedQuickly = 500 * time.Millisecond
	slowDownEvery = time.Second // What was begun before the last slowing tells of before it.
)

// pace is how many wakes may begin in a second.
type pace struct {
	most, rate float64
	slowed     time.Time // When it was last reduced.
}

// after is the pace after an instance was placed so long after the call that woke
// its revision: half when that was slow, and step by step up to the most again.
func (p pace) after(took time.Duration, now time.Time) pace {
	switch {
	case took >= placedSlowly && now.Sub(p.slowed) >= slowDownEvery:
		p.rate, p.slowed = max(min(1, p.most), p.rate/2), now
	case took <= placedQuickly:
		p.rate = min(p.most, p.rate+p.most/20)
	}
	return p
}

// wakes begins the wakes of all revisions, oldest first and at most so many per
// second. It asks for each revision once at a time; the revision sees to that.
type wakes struct {
	notify chan struct{}

	mu      sync.Mutex
	pace    pace
	pending map[*revision]time.Time // Since when its oldest request waits.
	running int
	over    chan struct{} // Closed when none is pending or running; nil: nobody wants to know.

	begun []time.Time // Ring of the latest; owned by run.
	next  int
}

func newWakes(perSecond float64) *wakes {
	return &wakes{
		notify:  make(chan struct{}, 1),
		pace:    pace{most: perSecond, rate: perSecond},
		pending: make(map[*revision]time.Time),
		begun:   make([]time.Time, max(1, int(perSecond))),
	}
}

// placed takes in how long after its wake an instance was placed.
func (k *wakes) placed(took time.Duration, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pace = k.pace.after(took, now)
}

// rate is how many may begin in a second now.
func (k *wakes) rate() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pace.rate
}

// nextAt is when the next may begin: at a rate of n a second, when the n-th last
// one was a second ago.
func (k *wakes) nextAt() time.Time {
	rate := k.rate()
	n := max(1, min(len(k.begun), int(rate)))
	last := k.begun[(k.next+len(k.begun)-n)%len(k.begun)]
	return last.Add(time.Duration(float64(n) / rate * float64(time.Second)))
}

// ask queues a wake of r, whose oldest request waits since then.
func (k *wakes) ask(r *revision, since time.Time) {
	k.mu.Lock()
	k.pending[r] = since
	k.mu.Unlock()
	signal(k.notify)
}

// oldest takes the revision that waits longest, of which one has to, and counts its wake
// as running.
func (k *wakes) oldest() *revision {
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

// ended notes that a wake has.
func (k *wakes) ended() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running--
	if k.over != nil && len(k.pending)+k.running == 0 {
		close(k.over)
		k.over = nil
	}
}

// underWay is closed when none is pending or running; nil: none is.
func (k *wakes) underWay() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pending)+k.running == 0 {
		return nil
	}
	if k.over == nil {
		k.over = make(chan struct{})
	}
	return k.over
}

// Waking returns a channel that is closed when no wake is due or under way any more; nil
// if none is. Whoever else raises counts lets them go first.
func (a *Activator) Waking() <-chan struct{} { return a.wakes.underWay() }

func (k *wakes) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pending) == 0
}

// run begins what is asked for until ctx ends, and waits for what it began.
func (k *wakes) run(ctx context.Context, wake func(context.Context, *revision)) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		var due <-chan time.Time
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

// wake calls the Waker once for r and tells r's loop what came of it.
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
	r.woken(err, time.Now())
}
