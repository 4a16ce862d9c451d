package queue

import (
	"net/http"

	"github.com/wadi-run/wadi"
)

// kindProbe is a probe's kind in the access log.
const kindProbe = "probe"

// The results of probes, for the metrics.
const (
	probedReady       = "ready"
	probedNotReady    = "not_ready"
	probedMisdirected = "misdirected"
)

// answerProbe answers an activator's probe or order: whether requests may be sent here. The
// app does not see it.
func (p *Proxy) answerProbe(w http.ResponseWriter, r *http.Request, revision string) {
	x := newOwnAnswer(w, r)
	p.setIdentity(x.Header())
	x.isProbe = true
	result := probedReady
	switch {
	case revision != p.cfg.Revision || !p.isMeant(r.Header):
		result = probedMisdirected
		x.WriteHeader(http.StatusMisdirectedRequest)
	case r.Header[wadi.HeaderOrder] != nil:
		p.answerOrder(x, r, wadi.Order(first(r.Header[wadi.HeaderOrder])))
	case !p.isReady(), p.orders.mustGo():
		result = probedNotReady
		x.Header().Set("Retry-After", "1")
		x.Header().Set(wadi.HeaderUnready, p.notReady())
		if p.orders.mustGo() {
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
