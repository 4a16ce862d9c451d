package queue

import (
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/clientcert"
	"github.com/wadi-run/wadi/proxy/hangup"
	"github.com/wadi-run/wadi/proxy/replay"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// forward passes a request on as soon as the app is ready. When the app turns out to have
// ended before it saw anything of the request, the request waits again, however often that
// happens. A request that may have killed the app is not sent again.
func (p *Proxy) forward(r *http.Request, x *request) {
	var breaks upstream.Breaks
	var body *replay.Body
	if r.Body != nil && r.Body != http.NoBody {
		body = replay.New(r.Body, -1, 0) // The first attempt that reads from it is the last.
	}
	for refused := 0; ; refused++ {
		x.state.Store(stateAwaitingApp)
		ready := p.awaitApp(r, x, refused)
		if r.Context().Err() != nil || ready && x.hasWaited && hangup.CallerLeft(r) {
			panic(http.ErrAbortHandler) // No answer is due: the app is spared the work.
		}
		if !ready {
			p.refuseDraining(r, x)
			return
		}
		if refused == 0 {
			p.prepare(r, x)
		}
		x.state.Store(stateForwarded)
		if body != nil {
			// Closing the server's own body would wait for the rest of it. The request is a
			// copy, made for its context.
			r.Body = body.Attempt()
		}
		err := p.app.ForwardAfter(&x.tracker, r, breaks)
		if err == nil {
			return
		}
		var failed *upstream.ForwardError
		gone := errors.As(err, &failed) && failed.Gone()
		if gone {
			p.ready.Refused(err)
		}
		if !gone || !failed.Refused || !isWhole(body) {
			p.refuseFailed(r, x, body, err)
			return
		}
		breaks = failed.Breaks
	}
}

// isWhole reports whether another attempt would get all of body, which may be nil. The
// attempt before reads no more: over HTTP/2 it may have read what it did not send.
func isWhole(body *replay.Body) bool {
	if body == nil {
		return true
	}
	body.Revoke()
	return body.IsWhole()
}

// prepare notes the end of the wait, and replaces Wadi's headers by those for the app.
func (p *Proxy) prepare(r *http.Request, x *request) {
	x.waited = time.Since(x.began)
	p.metrics.wait.Observe(x.waited.Seconds())
	proxy.StripInternal(r.Header)
	if x.cert != "" {
		r.Header[clientcert.Header] = []string{x.cert}
	}
	if x.mirrored {
		r.Header[wadi.HeaderMirror] = []string{"1"}
	}
}

const (
	// refusedPause is the pause after the second refused connection in a row of an app
	// whose probes succeed. It doubles with each further one, up to maxRefusedPause.
	refusedPause    = 5 * time.Millisecond
	maxRefusedPause = time.Second
)

// awaitApp waits until the app is ready, after so many refused connections for x. False
// means that the request is over, or that the instance ends without its app.
func (p *Proxy) awaitApp(r *http.Request, x *request, refused int) bool {
	if refused == 0 && p.ready.IsReady() {
		return true
	}
	defer p.watchCaller(r, x)()
	ends := p.drain.Settled()
	if x.proxied {
		ends = p.drain.Begun() // The activator knows of the drain, or learns it by the answer.
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

// refuseFailed answers in place of an app that failed.
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
		x.tracker.Header().Set("Connection", "close") // The connection has no further request.
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
