package queue

import (
	"net/http"
	"strconv"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

// headerReady tells on every answer of statistics whether requests may be sent here.
const headerReady = "Wadi-Ready"

// statsPath is where the statistics are.
const statsPath = "/v1/stats"

// statsHandler serves the statistics of the requests, and what is amiss with the app.
func (p *Proxy) statsHandler() http.Handler {
	return proxy.StatsHandler(p.recorder, func(h http.Header) {
		h.Set(headerReady, strconv.FormatBool(p.isReady()))
		p.tellTrouble(h)
	})
}

// tellTrouble puts what is amiss into the header of the statistics.
func (p *Proxy) tellTrouble(h http.Header) {
	if !p.isReady() {
		h.Set(wadi.HeaderUnready, p.notReady())
	}
	if at := p.witness.wide(); at != "" {
		h.Set(headerWide, at)
	}
	if why := p.witness.unshielded; why != "" {
		h.Set(headerUnshielded, why)
	}
}
