package queue

import (
	"net/http"

	"github.com/wadi-run/wadi/proxy/admin"
)

// maxDumped is how many requests a dump tells of.
const maxDumped = 1000

// adminHandler is the admin plane. It is not authenticated: its listener is on
// loopback. The process stays when it is drained, until it is told to end: it
// would be restarted otherwise.
func (p *Proxy) adminHandler() http.Handler {
	return admin.Loopback(admin.Handler(admin.Plane{
		Drain: p.startDrain, Draining: p.drain.HasBegun, Drained: p.drained,
		Dump: func() any { return p.dump() }, Log: p.log,
	}))
}

// dump is what the queue-proxy does at the moment.
type dump struct {
	Service  string          `json:"service"`
	Revision string          `json:"revision"`
	Instance string          `json:"instance"`
	Ready    bool            `json:"ready"`
	Draining bool            `json:"draining"`
	InFlight int             `json:"in_flight"`
	Waiting  int             `json:"waiting"`
	Rest     *rest           `json:"drain_waits_for,omitempty"` // Of a drain.
	Requests []dumpedRequest `json:"requests"`                  // The oldest first, and not all of very many.
}

func (p *Proxy) dump() dump {
	var left *rest
	if p.drain.HasBegun() {
		r := p.rest()
		left = &r
	}
	return dump{
		Service: p.cfg.Service, Revision: p.cfg.Revision, Instance: p.cfg.Instance,
		Ready: p.isReady(), Draining: p.drain.HasBegun(),
		InFlight: p.limiter.InFlight(), Waiting: p.limiter.Waiting(),
		Rest: left, Requests: p.live.oldest(maxDumped),
	}
}
