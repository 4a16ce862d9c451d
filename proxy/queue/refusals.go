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

// The reasons of refusals, for the metrics and Wadi-Error. Timeouts have the text of their
// errors.
const (
	reasonMisdirected = "misdirected"
	reasonQueueFull   = "queue_full"
	reasonDraining    = "draining"
	reasonLeaving     = "leaving" // Other instances take the request.
	reasonAppRefused  = "app_refused"
	reasonAppFailed   = "app_failed"
	reasonAppAnswer   = "app_malformed" // The app's answer can't be passed on.
	reasonMalformed   = "malformed"     // Mostly by its framing, which net/http answers.
)

// reasons are all reasons, for metrics that exist from the start.
var reasons = []string{reasonMisdirected, reasonQueueFull, reasonDraining, reasonLeaving, reasonAppRefused, reasonAppFailed, reasonAppAnswer, reasonMalformed,
	deadline.ErrRequestTimeout.Error(), deadline.ErrResponseStartTimeout.Error(), deadline.ErrIdleTimeout.Error()}

// failureReason is the reason for a failure of the app.
func failureReason(e *upstream.ForwardError) string {
	switch {
	case e.Refused:
		return reasonAppRefused
	case e.Malformed:
		return reasonAppAnswer
	}
	return reasonAppFailed
}

// refuse answers with a short text that names the queue-proxy. A gRPC call gets the code
// that stands for the status, and is counted by the status.
func (p *Proxy) refuse(r *http.Request, x *request, status int, reason, text string) {
	p.metrics.refusals[reason].Inc()
	x.tracker.Header().Set(wadi.HeaderError, reason)
	text = "queue-proxy: " + text
	if !proxy.RefuseGRPC(&x.tracker, r, status, text) {
		http.Error(&x.tracker, text, status)
	}
	x.Status, x.reason = status, reason
}

// answerMisdirected answers a request for another instance. A gRPC call gets 421, too: the
// proxy that has sent it can send it elsewhere.
func (p *Proxy) answerMisdirected(w http.ResponseWriter, r *http.Request) {
	x := newOwnAnswer(w, r)
	x.Header().Set(wadi.HeaderError, reasonMisdirected)
	http.Error(&x.response, fmt.Sprintf("queue-proxy: this is instance %q of revision %s", p.cfg.Instance, p.cfg.Revision),
		http.StatusMisdirectedRequest)
	p.refused(x, r, http.StatusMisdirectedRequest, reasonMisdirected)
}

// refuseMalformed answers a request that came over HTTP/2 and must not reach an app.
func (p *Proxy) refuseMalformed(w http.ResponseWriter, r *http.Request, why framing.Reason) {
	x := newOwnAnswer(w, r)
	x.Header().Set(wadi.HeaderError, reasonMalformed)
	if text := "queue-proxy: " + why.Text(); !proxy.RefuseGRPC(&x.response, r, http.StatusBadRequest, text) {
		http.Error(&x.response, text, http.StatusBadRequest)
	}
	p.refused(x, r, http.StatusBadRequest, reasonMalformed)
}

// refused counts and logs a request that was refused before its deadlines began.
func (p *Proxy) refused(x *request, r *http.Request, status int, reason string) {
	x.Status, x.reason = status, reason // A gRPC call has HTTP's status 200 all the same.
	p.metrics.refusals[reason].Inc()
	p.metrics.observe(status, time.Since(x.began))
	if p.access != nil {
		p.logRequest(x, r)
	}
}

// newOwnAnswer returns the record of a request that is answered at once.
func newOwnAnswer(w http.ResponseWriter, r *http.Request) *request {
	deadline.EndUnread(w, r)
	return &request{response: response{Writer: recording.Writer{ResponseWriter: w}}, method: r.Method, began: time.Now()}
}

// refuseDraining answers a request that the app has not seen and will not see. Activators
// and callers' Envoys, which name the service, send it elsewhere.
func (p *Proxy) refuseDraining(r *http.Request, x *request) {
	const text = "the instance stops and its app is not ready"
	x.tracker.Header().Set("Retry-After", "1")
	if !x.namesService {
		p.refuse(r, x, http.StatusServiceUnavailable, reasonDraining, text)
		return
	}
	p.metrics.refusals[reasonDraining].Inc()
	x.instance = nil // With it this would count as the app's own answer.
	x.tracker.Header().Set(wadi.HeaderError, reasonDraining)
	http.Error(&x.tracker, "queue-proxy: "+text, http.StatusMisdirectedRequest)
	x.reason = reasonDraining
}

// refuseStopping answers a request that other instances take, as this one has the order to
// go.
func (p *Proxy) refuseStopping(x *request) {
	p.metrics.refusals[reasonLeaving].Inc()
	x.instance = nil // With it this would count as the app's own answer.
	x.tracker.Header().Set(wadi.HeaderError, reasonLeaving)
	x.tracker.Header().Set(wadi.HeaderOrder, string(wadi.OrderGo))
	http.Error(&x.tracker, "queue-proxy: the instance is about to stop, others take its requests", http.StatusMisdirectedRequest)
	x.reason = reasonLeaving
}
