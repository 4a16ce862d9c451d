package queue

import (
	"net/http"

	"github.com/wadi-run/wadi/proxy/admin"
)

// adminHandler is the admin plane. It is not authenticated, as its listener is on loopback.
// A drain by it does not end the process, which Nomad would restart.
func (p *Proxy) adminHandler() http.Handler {
	return admin.Loopback(admin.Handler(admin.Plane{
		Drain: p.startDrain, Draining: p.drain.HasBegun, Drained: p.drained,
		Dump: func() any { return p.dump() }, Log: p.log,
	}))
}
