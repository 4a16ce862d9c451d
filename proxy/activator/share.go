package activator

import "time"

const (
	// borrowEvery is how long requests wait for a slot within this activator's share
	// of instances that run before it borrows a little more.
	borrowEvery = 50 * time.Millisecond
	// returnAfter is how long requests must have found slots without borrowing before
	// the activator returns to its share.
	returnAfter = 2 * time.Second
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

// maxShare is how many an activator may borrow up to while its requests wait: the
// others' shares may be idle, which it can't see. All together stay below what the
// queue-proxy lets wait, unless there are more than ten times limit activators.
func maxShare(limit, k int) int {
	return min(limit, max(share(limit, k), (overcommit*limit+k-1)/k))
}

// borrow raises the limit by a quarter, up to most, if the oldest request has waited
// for borrowEvery since it came and since the last raise. Otherwise next is when it
// may; zero: there is nothing to borrow.
func (p *pool) borrow(oldest time.Time, most int, now time.Time) (raised bool, next time.Time) {
	if p.ready == 0 || p.limit >= most {
		return false, time.Time{}
	}
	since := oldest
	if since.Before(p.borrowedAt) {
		since = p.borrowedAt
	}
	if next = since.Add(borrowEvery); next.After(now) {
		return false, next
	}
	p.borrowedAt = now
	p.setLimit(min(most, p.limit+max(1, p.limit/4)))
	return true, time.Time{}
}

// returnToShare lowers the limit to the share if nothing was borrowed lately.
func (p *pool) returnToShare(share int, now time.Time) {
	if now.Sub(p.borrowedAt) > returnAfter {
		p.setLimit(share)
	}
}

// share is how many slots of each instance this activator has.
func (r *revision) share() int {
	return share(r.settings.Load().ConcurrencyLimit, int(r.a.peers.Load()))
}

// reshare applies a change of the limit or of the number of activators.
func (r *revision) reshare() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pool.setLimit(r.share())
	r.grantWaiting(time.Now())
}

// borrow takes more than the share while requests wait although instances are ready. It
// returns when to call it again; zero: no need to. The caller holds the mutex.
func (r *revision) borrow(now time.Time) (next time.Time) {
	most := maxShare(r.settings.Load().ConcurrencyLimit, int(r.a.peers.Load()))
	for r.queue.Len() > 0 {
		raised, next := r.pool.borrow(r.queue.First().arrived, most, now)
		if !raised {
			return next
		}
		r.grantWaiting(now)
	}
	return time.Time{}
}
