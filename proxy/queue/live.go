package queue

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy"
)

// The states of a live request, in order.
const (
	stateQueued  int32 = iota // Waits for the limit.
	stateHeld                 // Waits for the app to be ready.
	stateForward              // Is in the app.
)

// request is one request between its arrival and its end. All that it needs is in
// it, so that it costs one allocation.
type request struct {
	response
	timed   proxy.Timed
	method  string
	path    string
	begun   time.Time
	waited  time.Duration // For limit and app; written before the state is stateForward.
	state   atomic.Int32
	counted bool // It is activity; proxied says whether an activator counts it too.
	proxied bool
	reason  string       // Why the queue-proxy answered itself, if it did.
	body    *countedBody // Of a request with a body; nil without an access log.

	prev, next *request // Guarded by live's mutex.
}

// live holds the requests that are here now. It is bounded by the limiter and
// the connections.
type live struct {
	mu          sync.Mutex
	first, last *request // In the order in which they came.
	n           int
}

func (l *live) add(x *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.prev = l.last; l.last == nil {
		l.first = x
	} else {
		l.last.next = x
	}
	l.last = x
	l.n++
}

func (l *live) remove(x *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.prev == nil {
		l.first = x.next
	} else {
		x.prev.next = x.next
	}
	if x.next == nil {
		l.last = x.prev
	} else {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
	l.n--
}

// leave tells those that are upgraded, or will be, that the process ends.
func (l *live) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := l.first; x != nil; x = x.next {
		x.timed.Leave()
	}
}

func (l *live) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// dumpedRequest is a live request as the admin plane tells it. Paths may hold
// what is nobody's business, so only methods are told.
type dumpedRequest struct {
	Method     string  `json:"method"`
	AgeSeconds float64 `json:"age_seconds"`
	State      string  `json:"state"` // queued, held or forwarded.
}

// oldest tells of the oldest requests, at most max.
func (l *live) oldest(max int) []dumpedRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := make([]dumpedRequest, 0, min(max, l.n))
	for x := l.first; x != nil && len(told) < max; x = x.next {
		told = append(told, dumpedRequest{
			Method:     x.method,
			AgeSeconds: time.Since(x.begun).Seconds(),
			State:      [...]string{"queued", "held", "forwarded"}[x.state.Load()],
		})
	}
	return told
}
