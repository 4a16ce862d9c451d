package queue

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/list"
)

// The states of a live request, in order.
const (
	stateQueued  int32 = iota // Waits for the limit.
	stateHeld                 // Waits for the app to be ready.
	stateForward              // Is in the app.
)

// request is one request between its arrival and its end. All that it needs is in
// it, so that it costs one allocation.
type request struct {
	response
	timed   deadline.Tracker
	method  string
	path    string
	begun   time.Time
	waited  time.Duration // For limit and app; written before the state is stateForward.
	state   atomic.Int32
	counted bool // It is activity; proxied says whether an activator counts it too.
	named   bool // By its service: it comes from an activator or a caller's Envoy.
	identity

	hasWaited bool         // For the limit or the app.
	kind      string       // What it is, if it is not for the app.
	reason    string       // Why the queue-proxy answered itself, if it did.
	body      *countedBody // Of a request with a body; nil without an access log.

	node list.Node[*request] // Guarded by live's mutex.
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
