package queue

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The states of a live request, in order.
const (
	stateQueued  int32 = iota // Waits for the limit.
	stateHeld                 // Waits for the app to be ready.
	stateForward              // Is in the app.
)

// request is one request between its arrival and its end.
type request struct {
	method string
	path   string
	begun  time.Time
	waited time.Duration // For limit and app; written before the state is stateForward.
	state  atomic.Int32
}

// live holds the requests that are here now. It is bounded by the limiter and
// the connections.
type live struct {
	mu       sync.Mutex
	requests map[*request]struct{}
}

func newLive() *live { return &live{requests: map[*request]struct{}{}} }

func (l *live) add(r *http.Request) *request {
	req := &request{method: r.Method, path: r.URL.Path, begun: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests[req] = struct{}{}
	return req
}

func (l *live) remove(req *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.requests, req)
}

func (l *live) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.requests)
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
	all := make([]*request, 0, len(l.requests))
	for r := range l.requests {
		all = append(all, r)
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b *request) int { return a.begun.Compare(b.begun) })
	told := make([]dumpedRequest, 0, min(max, len(all)))
	for _, r := range all[:min(max, len(all))] {
		told = append(told, dumpedRequest{
			Method:     r.method,
			AgeSeconds: time.Since(r.begun).Seconds(),
			State:      [...]string{"queued", "held", "forwarded"}[r.state.Load()],
		})
	}
	return told
}
