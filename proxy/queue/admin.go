package queue

import (
	"net/http"

	"github.com/wadi-run/wadi/proxy/admin"
)

// adminHandler is the admin plane. It is not authenticated: its listener is on
// loopback. The process stays when it is drained, until it is told to end: it
// would be restarted otherwise.
func (p *Proxy) adminHandler() http.Handler {
	return admin.Loopback(admin.Handler(admin.Plane{
		Drain: p.startDrain, Draining: p.drain.HasBegun, Drained: p.drained,
		Dump: func() any { return p.dump() }, Log: p.log,
	}))
}
