package queue

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/list"
	"github.com/wadi-run/wadi/proxy/recording"
)

// The states of a live request, in order.
const (
	stateQueued      int32 = iota // Waits for the limit.
	stateAwaitingApp              // Waits for the app to be ready.
	stateForwarded                // Is in the app.
)

// request is one request between its arrival and its end. All that it needs is in
// it, so that it costs one allocation.
type request struct {
	response
	timed        deadline.Tracker
	method       string
	path         string
	began        time.Time
	waited       time.Duration // For limit and app; written before the state is stateForwarded.
	state        atomic.Int32
	counted      bool // It is activity; proxied says whether an activator counts it too.
	namesService bool // By its service: it comes from an activator or a caller's Envoy.
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
		response: response{Writer: recording.Writer{ResponseWriter: w}, instance: p.cfg.Instance},
		method:   r.Method, path: r.URL.Path, began: time.Now(),
		counted: !p.quiet(r.URL.Path), namesService: first(r.Header[wadi.HeaderService]) != "", identity: p.identify(r.Header),
	}
	x.Starter = &x.response
	if x.counted {
		p.recorder.Enter(x.proxied)
	}
	if p.access != nil {
		x.countBody(r)
	}
	p.inFlight.add(x)
	defer p.ended(x, r)
	defer x.timed.End()
	if r = p.keeper.Begin(&x.timed, &x.response, r, x.began); p.diverts(r, x) {
		p.refuseStopping(x)
		return
	}
	p.admit(r, x)
}

// ended counts a request that has been answered, or broken off.
func (p *Proxy) ended(x *request, r *http.Request) {
	p.inFlight.remove(x)
	if x.counted {
		p.recorder.Leave(x.proxied)
	}
	if err := x.timed.Refused(); err != nil {
		p.metrics.refusals[err.Error()].Inc()
		// Whatever HTTP says of it: to a gRPC call that is 200.
		x.Status, x.reason = http.StatusGatewayTimeout, err.Error()
	}
	p.metrics.observe(x.Status, time.Since(x.began))
	if p.access != nil {
		p.logRequest(x, r)
	}
}
