package queue

import (
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/clientcert"
	"github.com/wadi-run/wadi/proxy/hangup"
	"github.com/wadi-run/wadi/proxy/replay"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// forward passes a request on as soon as the app is ready. When the app turns out
// to have ended it has seen nothing of the request, which then waits like those
// that come later, however often that happens. One that it may have died of is not sent
// again.
func (p *Proxy) forward(r *http.Request, x *request) {
	var breaks upstream.Breaks
	var body *replay.Body
	if r.Body != nil && r.Body != http.NoBody {
		body = replay.New(r.Body, -1, 0) // An attempt that has read some of it is the last.
	}
	for refused := 0; ; refused++ {
		x.state.Store(stateAwaitingApp)
		ready := p.awaitApp(r, x, refused)
		if r.Context().Err() != nil || ready && x.hasWaited && hangup.CallerLeft(r) {
			panic(http.ErrAbortHandler) // Nobody waits for an answer: the app need not work for one.
		}
		if !ready {
			p.refuseDraining(r, x)
			return
		}
		if refused == 0 {
			x.waited = time.Since(x.began)
			p.metrics.wait.Observe(x.waited.Seconds())
			proxy.StripInternal(r.Header)
			if x.cert != "" {
				r.Header[clientcert.Header] = []string{x.cert}
			}
		}
		x.state.Store(stateForwarded)
		if body != nil {
			// To close the server's own body would be to wait for the rest of it. The request
			// is a copy, made for its context.
			r.Body = body.Attempt()
		}
		err := p.app.ForwardAfter(&x.timed, r, breaks)
		if err == nil {
			return
		}
		var failed *upstream.ForwardError
		gone := errors.As(err, &failed) && failed.Gone()
		if gone {
			p.ready.Refused(err)
		}
		if !gone || !failed.Refused {
			p.refuseFailed(r, x, body, err)
			return
		}
		breaks = failed.Breaks
	}
}

const (
	// refusedPause is the pause after the second refusal in a row of an app that probes
	// find ready, and twice as long after each further one, up to maxRefusedPause.
	refusedPause    = 5 * time.Millisecond
	maxRefusedPause = time.Second
)

// awaitApp waits until the app is ready, which has refused x before so many times. False
// means that the request is over, or that the instance ends without its app.
func (p *Proxy) awaitApp(r *http.Request, x *request, refused int) bool {
	if refused == 0 && p.ready.IsReady() {
		return true
	}
	defer p.watchCaller(r, x)()
	ends := p.drain.Settled()
	if x.proxied {
		ends = p.drain.Begun() // The activator has heard of the drain by then, or hears of it now.
	}
	if refused > 1 {
		pause := time.NewTimer(min(refusedPause<<min(refused-2, 10), maxRefusedPause))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ends:
			return false
		case <-r.Context().Done():
			return false
		}
	}
	select {
	case <-p.ready.Wait():
		return true
	case <-ends:
	case <-r.Context().Done():
	}
	return false
}

// refuseFailed answers in place of an app that did not.
func (p *Proxy) refuseFailed(r *http.Request, x *request, body *replay.Body, err error) {
	var failed *upstream.ForwardError
	if r.Context().Err() != nil || errors.As(err, &failed) && failed.Answered {
		panic(http.ErrAbortHandler)
	}
	if failed == nil {
		failed = &upstream.ForwardError{Err: err}
	}
	p.log.Debug("request failed", "error", err)
	if body != nil && isMalformed(body.Failure()) {
		x.timed.Header().Set("Connection", "close") // What comes next is no request.
		p.refuse(r, x, http.StatusBadRequest, reasonMalformed, "the request's body can't be read")
		return
	}
	if failed.Unsendable {
		p.refuse(r, x, http.StatusBadRequest, reasonMalformed, failed.Err.Error())
		return
	}
	p.refuse(r, x, http.StatusBadGateway, failureReason(failed), failed.Reason("the app"))
}

// isMalformed reports whether err, of reading a body, is about what the caller has sent,
// and not about a request that is over.
func isMalformed(err error) bool {
	return err != nil && !errors.Is(err, http.ErrBodyReadAfterClose) && !errors.Is(err, os.ErrDeadlineExceeded)
}
