package queue

import (
	"fmt"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/recording"
	"github.com/wadi-run/wadi/proxy/upstream"
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
	deadline.ErrRequestTimeout.Error(), deadline.ErrResponseStartTimeout.Error(), deadline.ErrIdleTimeout.Error()}

// failureReason is the reason of the metrics for how the app failed.
func failureReason(e *upstream.ForwardError) string {
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
	x.Status, x.reason = status, reason
}

// answerMisdirected answers what is meant for another instance. 421 is for gRPC calls,
// too: it is for those who know where else to send them.
func (p *Proxy) answerMisdirected(w http.ResponseWriter, r *http.Request) {
	x := newOwnAnswer(w, r)
	x.Header().Set(wadi.HeaderError, reasonMisdirected)
	http.Error(&x.response, fmt.Sprintf("queue-proxy: this is instance %q of revision %s", p.cfg.Instance, p.cfg.Revision),
		http.StatusMisdirectedRequest)
	p.refused(x, r, http.StatusMisdirectedRequest, reasonMisdirected)
}

// refuseMalformed answers what no app is sent, as it came over HTTP/2.
func (p *Proxy) refuseMalformed(w http.ResponseWriter, r *http.Request, why framing.Reason) {
	x := newOwnAnswer(w, r)
	x.Header().Set(wadi.HeaderError, reasonMalformed)
	if text := "queue-proxy: " + why.Text(); !proxy.RefuseGRPC(&x.response, r, http.StatusBadRequest, text) {
		http.Error(&x.response, text, http.StatusBadRequest)
	}
	p.refused(x, r, http.StatusBadRequest, reasonMalformed)
}

// refused counts and logs a request that was refused before it was one for the app.
func (p *Proxy) refused(x *request, r *http.Request, status int, reason string) {
	x.Status, x.reason = status, reason // Whatever HTTP says of it: to a gRPC call that is 200.
	p.metrics.refusals[reason].Inc()
	p.metrics.observe(status, time.Since(x.began))
	if p.access != nil {
		p.logRequest(x, r)
	}
}

// newOwnAnswer is for a request that is answered at once, and waits for nothing.
func newOwnAnswer(w http.ResponseWriter, r *http.Request) *request {
	deadline.EndUnread(w, r)
	return &request{response: response{Writer: recording.Writer{ResponseWriter: w}}, method: r.Method, path: r.URL.Path, began: time.Now()}
}

// refuseDraining answers a request whose app has seen nothing of it, and will not. Activators
// and callers' Envoys, who name the service, know where else to send it.
func (p *Proxy) refuseDraining(r *http.Request, x *request) {
	const text = "the instance stops and its app is not ready"
	x.timed.Header().Set("Retry-After", "1")
	if !x.namesService {
		p.refuse(r, x, http.StatusServiceUnavailable, reasonDraining, text)
		return
	}
	p.metrics.refusals[reasonDraining].Inc()
	x.instance = "" // Or it were the app's own answer.
	x.timed.Header().Set(wadi.HeaderError, reasonDraining)
	http.Error(&x.timed, "queue-proxy: "+text, http.StatusMisdirectedRequest)
	x.reason = reasonDraining
}

// refuseStopping answers a request that others take.
func (p *Proxy) refuseStopping(x *request) {
	p.metrics.refusals[reasonLeaving].Inc()
	x.instance = "" // Or it were the app's own answer.
	x.timed.Header().Set(wadi.HeaderError, reasonLeaving)
	x.timed.Header().Set(wadi.HeaderOrder, string(wadi.OrderGo))
	http.Error(&x.timed, "queue-proxy: the instance is about to stop, others take its requests", http.StatusMisdirectedRequest)
	x.reason = reasonLeaving
}
