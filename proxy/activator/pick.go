package activator

import (
	"math/rand/v2"
	"time"
)

const (
	// lendEvery is how long requests wait for a place within this activator's share
	// of instances that run before it takes a little more.
	lendEvery = 50 * time.Millisecond
	// lendAgain is how long nobody must have waited in vain for the share to be
	// tried again.
	lendAgain = 2 * time.Second
	// overcommit is how many times an instance's limit all activators together may
	// come to, about. The queue-proxy lets ten times the limit wait.
	overcommit = 5
)

// share is how many requests one of k activators sends to an instance with that
// limit while others wait: the limit divided, rounded up. Together that may be
// up to k-1 too many, so that none goes without; the queue-proxy knows the exact
// limit, and lets the few wait in the order in which they come. 0 is no bound.
//
// Knative's activators divide the instances instead, by their place in a sorted
// list: that leaves capacity idle where load is uneven, and is exact only while all
// see the same list.
func share(limit, k int) int {
	if limit <= 0 {
		return 0
	}
	return (limit + k - 1) / k
}

// most is what an activator whose requests still wait may come to: the others'
// shares may lie idle, which nobody tells it. All together stay below what the
// queue-proxy lets wait, unless there are more than ten times limit activators.
func most(limit, k int) int {
	return min(limit, max(share(limit, k), (overcommit*limit+k-1)/k))
}

// hasRoom reports whether i may get another request. The caller holds the mutex.
func (r *revision) hasRoom(i *instance) bool {
	return i.ready && (r.bound == 0 || i.inFlight < r.bound)
}

// settle puts i among those that have room, or takes it out. It is called after each
// change of what hasRoom looks at. The caller holds the mutex.
func (r *revision) settle(i *instance) {
	switch room := r.hasRoom(i); {
	case room && i.slot < 0:
		i.slot = len(r.open)
		r.open = append(r.open, i)
	case !room && i.slot >= 0:
		last := r.open[len(r.open)-1]
		r.open[i.slot], last.slot = last, i.slot
		r.open[len(r.open)-1] = nil
		r.open = r.open[:len(r.open)-1]
		i.slot = -1
	}
}

// pick returns an instance that has room: of two chosen at random, the one with
// fewer requests in flight. Nil if none has. The caller holds the mutex.
//
// Two random choices come close to the least busy of all, at a cost that does not
// grow with their number, and without all activators choosing the same one at once
// (Mitzenmacher, "The power of two choices in randomized load balancing", 2001).
func (r *revision) pick() *instance {
	switch n := len(r.open); n {
	case 0:
		return nil
	case 1:
		return r.open[0]
	default:
		a, b := rand.IntN(n), rand.IntN(n-1)
		if b >= a {
			b++
		}
		if r.open[b].inFlight < r.open[a].inFlight {
			a = b
		}
		return r.open[a]
	}
}

// reshare takes in that the limit or the number of activators has changed.
func (r *revision) reshare() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setBound(share(r.settings.Load().ConcurrencyLimit, int(r.a.peers.Load())))
	r.serveWaiting(time.Now())
}

// setBound changes how many requests an instance may have. The caller holds the mutex.
func (r *revision) setBound(n int) {
	if n == r.bound {
		return
	}
	r.bound = n
	for _, i := range r.instances {
		r.settle(i)
	}
}

// lend takes some more than the share where requests wait although instances run,
// and says when to look again; zero: no need to. The caller holds the mutex.
func (r *revision) lend(now time.Time) (next time.Time) {
	limit, k := r.settings.Load().ConcurrencyLimit, int(r.a.peers.Load())
	for r.waiting.Len() > 0 && r.ready > 0 && r.bound < most(limit, k) {
		since := r.waiting.First().arrived
		if since.Before(r.lentAt) {
			since = r.lentAt
		}
		if next = since.Add(lendEvery); next.After(now) {
			return next
		}
		r.lentAt = now
		r.setBound(min(most(limit, k), r.bound+max(1, r.bound/4)))
		r.serveWaiting(now)
	}
	return time.Time{}
}

// takeBack returns to the share when nothing was lent lately. The caller holds the mutex.
func (r *revision) takeBack(now time.Time) {
	if now.Sub(r.lentAt) > lendAgain {
		r.setBound(share(r.settings.Load().ConcurrencyLimit, int(r.a.peers.Load())))
	}
}
