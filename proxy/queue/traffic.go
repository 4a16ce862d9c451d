package queue

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/framing"
)

// Why a request is refused, as the metrics and Wadi-Error say. Timeouts are named as
// their errors.
const (
	reasonMisdirected = "misdirected"
	reasonQueueFull   = "queue_full"
	reasonDraining    = "draining"
	reasonLeaving     = "leaving" // Others take it.
	reasonAppRefused  = "app_refused"
	reasonAppFailed   = "app_failed"
	reasonAppAnswer   = "app_malformed" // It answered, but not so that it could be passed on.
	reasonMalformed   = "malformed"     // Mostly its framing, and net/http answers.
)

// reasons are all of them.
var reasons = []string{reasonMisdirected, reasonQueueFull, reasonDraining, reasonLeaving, reasonAppRefused, reasonAppFailed, reasonAppAnswer, reasonMalformed,
	proxy.ErrRequestTimeout.Error(), proxy.ErrResponseStartTimeout.Error(), proxy.ErrIdleTimeout.Error()}

// trafficHandler answers probes and what is not meant for this instance, and
// passes everything else on to the app.
func (p *Proxy) trafficHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		draining := p.drain.HasBegun()
		if draining && r.ProtoMajor == 1 && r.Header["Upgrade"] == nil {
			w.Header().Set("Connection", "close") // The next one goes elsewhere. For HTTP/2 see goAway.
		}
		if r.ProtoMajor != 1 { // Of HTTP/1 the listener has judged, before anything was read of it.
			if why := framing.Acceptable(r); why != framing.None {
				p.refuseMalformed(w, r, why)
				return
			}
		}
		switch probed := first(r.Header[wadi.HeaderProbe]); {
		case probed != "":
			p.answerProbe(w, r, probed)
		case !p.isMeant(r.Header):
			p.answerMisdirected(w, r)
		default:
			if draining {
				p.drain.Saw()
			}
			p.serve(w, r)
		}
	})
}

// isMeant says whether a request is for this instance, as far as it says. A
// splitter names service and revision only, an activator the instance too. The
// names in a header are canonical, as these are.
func (p *Proxy) isMeant(h http.Header) bool {
	return names(h[wadi.HeaderService], p.cfg.Service) &&
		names(h[wadi.HeaderRevision], p.cfg.Revision) &&
		names(h[wadi.HeaderInstance], p.cfg.Instance)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// names says whether all the values of a header are empty or own.
func names(values []string, own string) bool {
	for _, v := range values {
		if v != "" && v != own {
			return false
		}
	}
	return true
}

// serve counts a request, bounds its time and passes it on.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	x := &request{
		response: response{ResponseWriter: w, instance: p.cfg.Instance},
		method:   r.Method, path: r.URL.Path, begun: time.Now(),
		counted: !p.quiet(r.URL.Path), named: first(r.Header[wadi.HeaderService]) != "", identity: p.identify(r.Header),
	}
	if x.counted {
		p.recorder.Enter(x.proxied)
	}
	if p.access != nil {
		x.logged(r)
	}
	p.live.add(x)
	defer p.ended(x, r)
	defer x.timed.End()
	if r = p.keeper.Begin(&x.timed, &x.response, r, x.begun); p.turnsAway(r, x) {
		p.sendElsewhere(x)
		return
	}
	p.admit(r, x)
}

// ended counts a request that has been answered, or broken off.
func (p *Proxy) ended(x *request, r *http.Request) {
	p.live.remove(x)
	if x.counted {
		p.recorder.Leave(x.proxied)
	}
	if err := x.timed.Refused(); err != nil {
		p.metrics.refusals[err.Error()].Inc()
		// Whatever HTTP says of it: to a gRPC call that is 200.
		x.status, x.reason = http.StatusGatewayTimeout, err.Error()
	}
	p.metrics.observe(x.status, time.Since(x.begun))
	if p.access != nil {
		p.logRequest(x, r)
	}
}

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
	defer x.timed.WhenLeft(p.release)
	if r.Body != nil && r.Body != http.NoBody {
		// The server closes the body when the answer has gone out; to close it here
		// would be to wait for the rest of it first. The request is a copy, made for its
		// context.
		r.Body = &keptBody{ReadCloser: r.Body}
	}
	p.forward(r, x)
}

// acquire waits for the limit, for as long as the caller does.
func (p *Proxy) acquire(r *http.Request, x *request) error {
	if r.Context().Err() == nil && p.limiter.TryAcquire() {
		return nil
	}
	defer p.watched(r, x)()
	return p.limiter.Acquire(r.Context())
}

// watched has the request end with its caller, until stop is called. Nobody reads from
// the caller of one that waits, so that the server would not notice.
func (p *Proxy) watched(r *http.Request, x *request) (stop func()) {
	x.hasWaited = true
	return proxy.WatchCaller(r, x.timed.Left)
}

// keptBody outlives an attempt that did not come about, and knows whether it is whole.
type keptBody struct {
	io.ReadCloser
	broken atomic.Bool
}

func (b *keptBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, http.ErrBodyReadAfterClose) && !errors.Is(err, os.ErrDeadlineExceeded) {
		b.broken.Store(true)
	}
	return n, err
}

func (*keptBody) Close() error { return nil }

// forward passes a request on as soon as the app is ready. When the app turns out
// to have ended it has seen nothing of the request, which then waits like those
// that come later, however often that happens. One that it may have died of is not sent
// again.
func (p *Proxy) forward(r *http.Request, x *request) {
	var breaks proxy.Breaks
	for refused := 0; ; refused++ {
		x.state.Store(stateHeld)
		ready := p.hold(r, x, refused)
		if r.Context().Err() != nil || ready && x.hasWaited && proxy.CallerLeft(r) {
			panic(http.ErrAbortHandler) // Nobody waits for an answer: the app need not work for one.
		}
		if !ready {
			p.turnAway(r, x)
			return
		}
		if refused == 0 {
			x.waited = time.Since(x.begun)
			p.metrics.wait.Observe(x.waited.Seconds())
			proxy.StripInternal(r.Header)
			if x.cert != "" {
				r.Header[proxy.HeaderClientCert] = []string{x.cert}
			}
		}
		x.state.Store(stateForward)
		err := p.app.ForwardAfter(&x.timed, r, breaks)
		if err == nil {
			return
		}
		var failed *proxy.ForwardError
		gone := errors.As(err, &failed) && failed.Gone()
		if gone {
			p.ready.refused(err)
		}
		if !gone || !failed.Refused {
			p.forwardFailed(r, x, err)
			return
		}
		breaks = failed.Breaks
	}
}

const (
	// refusedPause is the pause after the second refusal in a row of an app that probes
	// find ready, and twice as long after each further one, up to refusedPauseMost.
	refusedPause     = 5 * time.Millisecond
	refusedPauseMost = time.Second
)

// hold waits until the app is ready, which has refused x before so many times. False
// means that the request is over, or that the instance ends without its app.
func (p *Proxy) hold(r *http.Request, x *request, refused int) bool {
	if refused == 0 && p.ready.isReady() {
		return true
	}
	defer p.watched(r, x)()
	ends := p.drain.Settled()
	if x.proxied {
		ends = p.drain.Begun() // The activator has heard of the drain by then, or hears of it now.
	}
	if refused > 1 {
		pause := time.NewTimer(min(refusedPause<<min(refused-2, 10), refusedPauseMost))
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
	case <-p.ready.wait():
		return true
	case <-ends:
	case <-r.Context().Done():
	}
	return false
}

// turnAway answers a request whose app has seen nothing of it, and will not. Activators
// and callers' Envoys, who name the service, know where else to send it.
func (p *Proxy) turnAway(r *http.Request, x *request) {
	const text = "the instance stops and its app is not ready"
	x.timed.Header().Set("Retry-After", "1")
	if !x.named {
		p.refuse(r, x, http.StatusServiceUnavailable, reasonDraining, text)
		return
	}
	p.metrics.refusals[reasonDraining].Inc()
	x.instance = "" // Or it were the app's own answer.
	x.timed.Header().Set(wadi.HeaderError, reasonDraining)
	http.Error(&x.timed, "queue-proxy: "+text, http.StatusMisdirectedRequest)
	x.reason = reasonDraining
}

// forwardFailed answers in place of an app that did not.
func (p *Proxy) forwardFailed(r *http.Request, x *request, err error) {
	var failed *proxy.ForwardError
	if r.Context().Err() != nil || errors.As(err, &failed) && failed.Answered {
		panic(http.ErrAbortHandler)
	}
	if failed == nil {
		failed = &proxy.ForwardError{Err: err}
	}
	p.log.Debug("request failed", "error", err)
	if b, ok := r.Body.(*keptBody); ok && b.broken.Load() {
		x.timed.Header().Set("Connection", "close") // What comes next is no request.
		p.refuse(r, x, http.StatusBadRequest, reasonMalformed, "the request's body can't be read")
		return
	}
	if failed.Unsendable {
		p.refuse(r, x, http.StatusBadRequest, reasonMalformed, failed.Err.Error())
		return
	}
	p.refuse(r, x, http.StatusBadGateway, failure(failed), failed.Reason("the app"))
}

// failure is the reason of the metrics for how the app failed.
func failure(e *proxy.ForwardError) string {
	switch {
	case e.Refused:
		return reasonAppRefused
	case e.Malformed:
		return reasonAppAnswer
	}
	return reasonAppFailed
}

// refuse answers with a short text that says who answers; a gRPC call gets it with
// the code that stands for the status, and counts by that.
func (p *Proxy) refuse(r *http.Request, x *request, status int, reason, text string) {
	p.metrics.refusals[reason].Inc()
	x.timed.Header().Set(wadi.HeaderError, reason)
	text = "queue-proxy: " + text
	if !proxy.RefuseGRPC(&x.timed, r, status, text) {
		http.Error(&x.timed, text, status)
	}
	x.status, x.reason = status, reason
}
