package activator

import (
	"net/http"
	"sync"
)

// What a waiting request takes of memory besides its headers: goroutine stacks and
// buffers of net/http, as measured, rounded up.
const (
	waiterBytes    = 20 << 10
	waiterTLSBytes = 64 << 10
)

// How the flood of one revision leaves some of the budget for others.
const (
	// budgetShare is how many times the free budget one revision may use: alone it gets
	// eight ninths of the budget, two that come together get eight seventeenths each.
	// (Dynamic thresholds, as switches share their buffers: Choudhury and Hahne, 1998.)
	budgetShare = 8
	// One reservedPart-th of the budget is kept for revisions with less than
	// reservedRequests in use, as waiting requests don't end for the sake of later ones.
	reservedPart     = 10
	reservedRequests = 8
)

// budget bounds the requests that wait in the whole agent, in number and in bytes, and
// what one revision uses of both. It has a mutex of its own, as all revisions share it.
type budget struct {
	mu                 sync.Mutex
	maxCount, maxBytes int64
	count, bytes       int64
}

// set changes the bounds. What is reserved stays so.
func (b *budget) set(maxCount, maxBytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.maxCount, b.maxBytes = maxCount, maxBytes
}

// budgetUse is what one revision uses of the budget. The budget's mutex guards it.
type budgetUse struct{ count, bytes int64 }

// reserve takes n bytes and one request of the budget for u. It reports false, and takes
// nothing, if that is too much.
func (b *budget) reserve(u *budgetUse, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count+1 > b.maxCount || b.bytes+n > b.maxBytes {
		return false
	}
	if u.count >= reservedRequests {
		free, freeBytes := b.maxCount-b.maxCount/reservedPart-b.count, b.maxBytes-b.maxBytes/reservedPart-b.bytes
		if u.count >= budgetShare*free || u.bytes >= budgetShare*freeBytes {
			return false
		}
	}
	b.count++
	b.bytes += n
	u.count++
	u.bytes += n
	return true
}

// release returns what reserve took.
func (b *budget) release(u *budgetUse, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count--
	b.bytes -= n
	u.count--
	u.bytes -= n
}

// reserveFor reserves what r needs while it waits, and returns its size in bytes. The
// error is a Refusal.
func (b *budget) reserveFor(u *budgetUse, r *http.Request) (int64, error) {
	n := footprint(r)
	if !b.reserve(u, n) {
		return 0, queueFull("as many requests wait as may in this agent")
	}
	return n, nil
}

// footprint estimates how many bytes r takes while it waits.
func footprint(r *http.Request) int64 {
	n := int64(waiterBytes)
	if r.TLS != nil {
		n = waiterTLSBytes
	}
	n += int64(len(r.RequestURI) + len(r.Host))
	for k, vs := range r.Header {
		for _, v := range vs {
			n += int64(len(k) + len(v) + 32)
		}
	}
	return n
}
