package queue

import (
	"net/http"
	"strconv"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/stats"
)

// headerReady says with every answer of statistics whether requests may be sent here.
const headerReady = "Wadi-Ready"

// statsPath is the path of the statistics.
const statsPath = "/v1/stats"

// statsHandler serves the statistics of the requests, with the diagnosis of the app.
func (p *Proxy) statsHandler() http.Handler {
	return stats.Handler(p.recorder, func(h http.Header) {
		h.Set(headerReady, strconv.FormatBool(p.isReady()))
		p.setDiagnosis(h)
	})
}

// Headers of the statistics about an app that can be reached past the queue-proxy.
const (
	headerWide       = "Wadi-Wide"       // Where the app listens besides loopback.
	headerUnshielded = "Wadi-Unshielded" // Why the shield that the configuration asks for is not up.
)

// setDiagnosis puts into h what is wrong with the app.
func (p *Proxy) setDiagnosis(h http.Header) {
	if !p.isReady() {
		h.Set(wadi.HeaderUnready, p.notReady())
	}
	if at := p.exposed(); at != "" {
		h.Set(headerWide, at)
	}
	if why := p.shield.failure; why != "" {
		h.Set(headerUnshielded, why)
	}
}
