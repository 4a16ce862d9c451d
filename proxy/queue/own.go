package queue

import (
	"fmt"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/framing"
)

// kindProbe is what the access log calls a probe.
const kindProbe = "probe"

// The results of probes, as the metrics have them.
const (
	probedReady       = "ready"
	probedNotReady    = "not_ready"
	probedMisdirected = "misdirected"
)

// answerProbe tells whether requests may be sent here. The app sees nothing of it.
func (p *Proxy) answerProbe(w http.ResponseWriter, r *http.Request, revision string) {
	x := ownAnswer(w, r)
	p.setIdentity(x.Header())
	x.kind = kindProbe
	result := probedReady
	switch {
	case revision != p.cfg.Revision || !p.isMeant(r.Header):
		result = probedMisdirected
		x.WriteHeader(http.StatusMisdirectedRequest)
	case r.Header[wadi.HeaderOrder] != nil:
		p.answerOrder(x, r, wadi.Order(first(r.Header[wadi.HeaderOrder])))
	case !p.isReady(), p.orders.leaves():
		result = probedNotReady
		x.Header().Set("Retry-After", "1")
		x.Header().Set(wadi.HeaderUnready, p.notReady())
		if p.orders.leaves() {
			x.Header().Set(wadi.HeaderOrder, string(wadi.OrderGo))
		}
		x.WriteHeader(http.StatusServiceUnavailable)
	default:
		x.WriteHeader(http.StatusOK)
	}
	p.metrics.probes[result].Inc()
	if p.access != nil {
		p.logRequest(x, r)
	}
}

// answerMisdirected answers what is meant for another instance. 421 is for gRPC calls,
// too: it is for those who know where else to send them.
func (p *Proxy) answerMisdirected(w http.ResponseWriter, r *http.Request) {
	x := ownAnswer(w, r)
	x.Header().Set(wadi.HeaderError, reasonMisdirected)
	http.Error(&x.response, fmt.Sprintf("queue-proxy: this is instance %q of revision %s", p.cfg.Instance, p.cfg.Revision),
		http.StatusMisdirectedRequest)
	p.refused(x, r, http.StatusMisdirectedRequest, reasonMisdirected)
}

// refuseMalformed answers what no app is sent, as it came over HTTP/2.
func (p *Proxy) refuseMalformed(w http.ResponseWriter, r *http.Request, why framing.Reason) {
	x := ownAnswer(w, r)
	x.Header().Set(wadi.HeaderError, reasonMalformed)
	if text := "queue-proxy: " + why.Text(); !proxy.RefuseGRPC(&x.response, r, http.StatusBadRequest, text) {
		http.Error(&x.response, text, http.StatusBadRequest)
	}
	p.refused(x, r, http.StatusBadRequest, reasonMalformed)
}

// refused counts and logs a request that was refused before it was one for the app.
func (p *Proxy) refused(x *request, r *http.Request, status int, reason string) {
	x.status, x.reason = status, reason // Whatever HTTP says of it: to a gRPC call that is 200.
	p.metrics.refusals[reason].Inc()
	p.metrics.observe(status, time.Since(x.begun))
	if p.access != nil {
		p.logRequest(x, r)
	}
}

// ownAnswer is for a request that is answered at once, and waits for nothing.
func ownAnswer(w http.ResponseWriter, r *http.Request) *request {
	proxy.EndUnread(w, r)
	return &request{response: response{ResponseWriter: w}, method: r.Method, path: r.URL.Path, begun: time.Now()}
}
