package queue

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy"
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
	timed   proxy.Timed
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

// live holds the requests that are here now. It is bounded by the limiter and
// the connections.
type live struct {
	mu  sync.Mutex
	all list.List[*request] // In the order in which they came.
}

func (l *live) add(x *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.PushBack(&x.node, x)
}

func (l *live) remove(x *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Remove(&x.node)
}

// leave tells those that are upgraded, or will be, that the process ends.
func (l *live) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.all.All() {
		x.timed.Leave()
	}
}

func (l *live) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Len()
}

// rest is what a drain waits for.
type rest struct {
	Requests int       `json:"requests"`
	Tunnels  int       `json:"tunnels"`        // Requests that were upgraded.
	Until    time.Time `json:"until,omitzero"` // When they are cut off; zero: the drain does not end the process.
}

func (r rest) String() string {
	s := several(r.Requests, "request") + " and " + several(r.Tunnels, "tunnel")
	if !r.Until.IsZero() {
		s += ", until " + r.Until.UTC().Format(time.RFC3339)
	}
	return s
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// rest counts what is left.
func (l *live) rest() (r rest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.all.All() {
		if x.upgraded.Load() {
			r.Tunnels++
		} else {
			r.Requests++
		}
	}
	return r
}

// dumpedRequest is a live request as the admin plane tells it. Paths may hold
// what is nobody's business, so only methods are told.
type dumpedRequest struct {
	Method     string  `json:"method"`
	AgeSeconds float64 `json:"age_seconds"`
	State      string  `json:"state"`            // queued, held or forwarded.
	Tunnel     bool    `json:"tunnel,omitempty"` // It was upgraded.
}

// oldest tells of the oldest requests, at most max.
func (l *live) oldest(max int) []dumpedRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := make([]dumpedRequest, 0, min(max, l.all.Len()))
	for x := range l.all.All() {
		if len(told) == max {
			break
		}
		told = append(told, dumpedRequest{
			Method:     x.method,
			AgeSeconds: time.Since(x.begun).Seconds(),
			State:      [...]string{"queued", "held", "forwarded"}[x.state.Load()],
			Tunnel:     x.upgraded.Load(),
		})
	}
	return told
}
