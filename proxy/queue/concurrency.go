package queue

import (
	"errors"
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/hangup"
)

// admit waits for the limit and for the app, and forwards. When the context ends
// it breaks off: the caller has gone, the timeout answers, or the process ends
// and must not leave an empty 200 behind.
func (p *Proxy) admit(r *http.Request, x *request) {
	if err := p.acquire(r, x); errors.Is(err, wadi.ErrQueueFull) {
		x.timed.Header().Set("Retry-After", "1")
		p.refuse(r, x, http.StatusServiceUnavailable, reasonQueueFull, "too many requests in this instance")
		return
	} else if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer x.timed.WhenPeersDone(p.release)
	p.forward(r, x)
}

// acquire waits for the limit, for as long as the caller does.
func (p *Proxy) acquire(r *http.Request, x *request) error {
	if r.Context().Err() == nil && p.limiter.TryAcquire() {
		return nil
	}
	defer p.watchCaller(r, x)()
	return p.limiter.Acquire(r.Context())
}

// watchCaller has the request end with its caller, until stop is called. Nobody reads from
// the caller of one that waits, so that the server would not notice.
func (p *Proxy) watchCaller(r *http.Request, x *request) (stop func()) {
	x.hasWaited = true
	return hangup.Watch(r, x.timed.CallerGone)
}
