package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

// Why a request is refused, as the metrics say.
const (
	reasonMisdirected = "misdirected"
	reasonQueueFull   = "queue_full"
	reasonDraining    = "draining"
	reasonAppRefused  = "app_refused"
	reasonAppFailed   = "app_failed"
)

// trafficHandler answers probes and what is not meant for this instance, and
// passes everything else on to the app.
func (p *Proxy) trafficHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		draining := p.drain.hasBegun()
		if draining && r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close") // The next one goes elsewhere.
		}
		switch probed := r.Header.Get(wadi.HeaderProbe); {
		case probed != "":
			p.answerProbe(w, r, probed)
		case !p.isMeant(r.Header):
			// 421 to gRPC calls too: it is for those who know where else to send them.
			p.metrics.refused.WithLabelValues(reasonMisdirected).Inc()
			http.Error(w, fmt.Sprintf("queue-proxy: this is instance %q of revision %s", p.cfg.Instance, p.cfg.Revision),
				http.StatusMisdirectedRequest)
		default:
			if draining {
				p.drain.saw()
			}
			p.serve(w, r)
		}
	})
}

// isMeant says whether a request is for this instance, as far as it says. A
// splitter names service and revision only, an activator the instance too.
func (p *Proxy) isMeant(h http.Header) bool {
	for _, is := range []struct{ name, own string }{
		{wadi.HeaderService, p.cfg.Service},
		{wadi.HeaderRevision, p.cfg.Revision},
		{wadi.HeaderInstance, p.cfg.Instance},
	} {
		if named := h.Get(is.name); named != "" && named != is.own {
			return false
		}
	}
	return true
}

// answerProbe tells whether requests may be sent here. The app sees nothing of it.
func (p *Proxy) answerProbe(w http.ResponseWriter, r *http.Request, revision string) {
	p.setIdentity(w.Header())
	switch {
	case revision != p.cfg.Revision || !p.isMeant(r.Header):
		w.WriteHeader(http.StatusMisdirectedRequest)
	case !p.isReady():
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// serve counts a request, bounds its time and passes it on.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	if !p.quiet(r.URL.Path) {
		defer p.recorder.Begin(r.Header.Get(wadi.HeaderProxied) != "")()
	}
	req := p.live.add(r)
	res := &response{ResponseWriter: w, instance: p.cfg.Instance}
	defer func() {
		p.live.remove(req)
		p.metrics.observe(res, time.Since(req.begun))
		if p.access != nil {
			p.access.write(res, r, req)
		}
	}()
	proxy.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.admit(w, r, req)
	}), p.cfg.Timeout).ServeHTTP(res, r)
}

// admit waits for the limit and for the app, and forwards. When the context ends
// it breaks off: the caller has gone, the timeout answers, or the process ends
// and must not leave an empty 200 behind.
func (p *Proxy) admit(w http.ResponseWriter, r *http.Request, req *request) {
	ctx := r.Context()
	if err := p.limiter.Acquire(ctx); errors.Is(err, wadi.ErrQueueFull) {
		w.Header().Set("Retry-After", "1")
		p.refuse(w, r, http.StatusServiceUnavailable, reasonQueueFull, "too many requests in this instance")
		return
	} else if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer p.limiter.Release()
	if r.Body != nil && r.Body != http.NoBody {
		kept := *r
		kept.Body = keptBody{r.Body}
		defer func() { _ = r.Body.Close() }() // Nothing is lost: the server ends it anyway.
		p.forward(w, &kept, req)
		return
	}
	p.forward(w, r, req)
}

// keptBody outlives an attempt that did not come about.
type keptBody struct{ io.ReadCloser }

func (keptBody) Close() error { return nil }

// forward passes a request on as soon as the app is ready. When the app turns out
// to have died it has seen nothing of the request, which then waits like those
// that come later: once.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, req *request) {
	ctx := r.Context()
	for again := false; ; again = true {
		req.state.Store(stateHeld)
		if !p.hold(ctx) {
			if ctx.Err() != nil {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Retry-After", "1")
			p.refuse(w, r, http.StatusServiceUnavailable, reasonDraining, "the instance stops and its app is not ready")
			return
		}
		if !again {
			req.waited = time.Since(req.begun)
			p.metrics.wait.Observe(req.waited.Seconds())
			proxy.StripInternal(r.Header)
		}
		req.state.Store(stateForward)
		err := p.app.Forward(w, r)
		if err == nil {
			return
		}
		var failed *proxy.ForwardError
		unseen := errors.As(err, &failed) && failed.Refused
		if gone := p.appRefused(err); again || !gone || !unseen {
			p.forwardFailed(w, r, err)
			return
		}
	}
}

// appRefused says whether the app refused the connection, and notes it.
func (p *Proxy) appRefused(err error) bool {
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return false
	}
	p.ready.refused(err)
	return true
}

// hold waits until the app is ready. False means that the request is over, or
// that the instance ends without its app.
func (p *Proxy) hold(ctx context.Context) bool {
	ready := p.ready.wait()
	select {
	case <-ready:
		return true
	default:
	}
	select {
	case <-ready:
		return true
	case <-p.drain.settled:
	case <-ctx.Done():
	}
	return false
}

// forwardFailed answers in place of an app that did not.
func (p *Proxy) forwardFailed(w http.ResponseWriter, r *http.Request, err error) {
	var failed *proxy.ForwardError
	if r.Context().Err() != nil || errors.As(err, &failed) && failed.Answered {
		panic(http.ErrAbortHandler)
	}
	if p.appRefused(err) {
		p.refuse(w, r, http.StatusBadGateway, reasonAppRefused, "the app refuses connections")
		return
	}
	p.log.Debug("request failed", "error", err)
	p.refuse(w, r, http.StatusBadGateway, reasonAppFailed, "the app broke the connection before it answered")
}

// refuse answers with a short text that says who answers; a gRPC call gets it with
// the code that stands for the status.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, status int, reason, text string) {
	p.metrics.refused.WithLabelValues(reason).Inc()
	text = "queue-proxy: " + text
	if !proxy.RefuseGRPC(w, r, status, text) {
		http.Error(w, text, status)
	}
}
