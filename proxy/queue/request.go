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

// The states of a request, in order.
const (
	stateQueued      int32 = iota // It waits for the concurrency limit.
	stateAwaitingApp              // It waits for the app to be ready.
	stateForwarded                // It is in the app.
)

// request is one request from its arrival to its end. It holds all that the request needs,
// so that it costs one allocation.
type request struct {
	response
	tracker      deadline.Tracker
	method       string
	began        time.Time
	latency      time.Duration // From its arrival to the beginning of the answer; 0: there was none.
	waited       time.Duration // Time of the wait for limit and app; written before the state is stateForwarded.
	state        atomic.Int32
	counted      bool // It counts as activity; proxied says whether an activator counts it too.
	namesService bool // Its headers name the service: it comes from an activator or a caller's Envoy.
	hasWaited    bool // It has waited for the limit or the app.
	isProbe      bool // It is not for the app.
	identity

	reason string       // Why the queue-proxy has answered itself; "" if it has not.
	body   *countedBody // Nil without a body or an access log.

	node list.Node[*request] // Guarded by inFlight's mutex.
}

// serve counts a request, starts its deadlines and passes it on.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	x := &request{
		response: response{Writer: recording.Writer{ResponseWriter: w}, instance: &p.cfg.Instance},
		method:   r.Method, began: time.Now(),
		counted: !p.quiet(r.URL.Path), namesService: first(r.Header[wadi.HeaderService]) != "", identity: p.identify(r.Header),
	}
	x.Starter = x
	if x.counted {
		p.recorder.Enter(x.proxied)
	}
	if p.access != nil {
		x.countBody(r)
	}
	p.inFlight.add(x)
	defer p.ended(x, r)
	defer x.tracker.End()
	if r = p.deadlines.Begin(&x.tracker, &x.response, r, x.began); p.diverts(r, x) {
		p.refuseStopping(x)
		return
	}
	p.admit(r, x)
	x.isWhole = true
}

// ended counts a request that was answered or aborted.
func (p *Proxy) ended(x *request, r *http.Request) {
	p.inFlight.remove(x)
	if err := x.tracker.Refused(); err != nil {
		p.metrics.refusals[err.Error()].Inc()
		// A gRPC call has HTTP's status 200 all the same.
		x.Status, x.reason = http.StatusGatewayTimeout, err.Error()
	}
	took := time.Since(x.began)
	if x.counted {
		p.leave(x, r, took)
	}
	p.metrics.observe(x.Status, took)
	if p.access != nil {
		p.logRequest(x, r)
	}
}
