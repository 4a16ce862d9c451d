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

// wakes begins the wakes of all revisions, oldest first and at most so many per
// second. It asks for each revision once at a time; the revision sees to that.
type wakes struct {
	every  time.Duration // Within which at most len(begun) begin.
	notify chan struct{}

	mu      sync.Mutex
	pending map[*revision]time.Time // Since when its oldest request waits.

	begun []time.Time // Ring of the latest; owned by run.
	next  int
}

func newWakes(perSecond float64) *wakes {
	n := max(1, int(perSecond))
	return &wakes{
		every:   time.Duration(float64(n) / perSecond * float64(time.Second)),
		notify:  make(chan struct{}, 1),
		pending: make(map[*revision]time.Time),
		begun:   make([]time.Time, n),
	}
}

// ask queues a wake of r, whose oldest request waits since then.
func (k *wakes) ask(r *revision, since time.Time) {
	k.mu.Lock()
	k.pending[r] = since
	k.mu.Unlock()
	signal(k.notify)
}

// oldest takes the revision that waits longest; nil if none does.
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
	return first
}

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
			wait := time.Until(k.begun[k.next].Add(k.every))
			if wait <= 0 {
				r := k.oldest()
				k.begun[k.next] = time.Now()
				k.next = (k.next + 1) % len(k.begun)
				running.Go(func() { wake(ctx, r) })
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
