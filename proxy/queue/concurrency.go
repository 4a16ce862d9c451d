package queue

import (
	"errors"
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/hangup"
)

// admit waits for the concurrency limit and for the app, and forwards. It aborts when the
// context ends: the caller has gone, the deadline answers, or the process ends and must not
// answer an empty 200.
func (p *Proxy) admit(r *http.Request, x *request) {
	if err := p.acquire(r, x); errors.Is(err, wadi.ErrQueueFull) {
		x.tracker.Header().Set("Retry-After", "1")
		p.refuse(r, x, http.StatusServiceUnavailable, reasonQueueFull, "too many requests in this instance")
		return
	} else if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer x.tracker.WhenPeersDone(p.release)
	p.forward(r, x)
}

// acquire waits for the concurrency limit, for as long as the caller waits.
func (p *Proxy) acquire(r *http.Request, x *request) error {
	if r.Context().Err() == nil && p.limiter.TryAcquire() {
		return nil
	}
	defer p.watchCaller(r, x)()
	return p.limiter.Acquire(r.Context())
}

// watchCaller cancels the request when its caller goes, until stop is called. The server
// would not notice: nothing reads from the connection while the request waits.
func (p *Proxy) watchCaller(r *http.Request, x *request) (stop func()) {
	x.hasWaited = true
	return hangup.Watch(r, x.tracker.CallerGone)
}
