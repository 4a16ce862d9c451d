package queue

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/replay"
)

// orderLease is how long an order is in force unless it is repeated. The leader repeats it
// every few seconds.
const orderLease = 10 * time.Second

// orders holds the leader's current order. Before it lowers the count, the leader orders an
// instance to go, so that nothing is in flight when Nomad stops it, or to stay. Unlike a
// drain, an order can be revoked and expires. Connections stay open and requests are served,
// but for those of activators, which can send them elsewhere.
type orders struct {
	changed func()

	kind atomic.Int32 // The kind of the order, for readers without the mutex.

	mu         sync.Mutex
	since      time.Time // When the first order to go came.
	last       time.Time // Last served request since that counts as activity; zero: none.
	end        *time.Timer
	generation int // Counts the orders, so that a late timer changes nothing.
}

// The kinds of orders, as numbers.
const (
	ordersNone int32 = iota
	ordersGo
	ordersGoIfIdle
)

func (o *orders) going() bool  { return o.kind.Load() != ordersNone }
func (o *orders) mustGo() bool { return o.kind.Load() == ordersGo }

// current returns the order in force.
func (o *orders) current() wadi.Order {
	switch o.kind.Load() {
	case ordersGo:
		return wadi.OrderGo
	case ordersGoIfIdle:
		return wadi.OrderGoIfIdle
	}
	return wadi.OrderStay
}

// apply puts an order in force.
func (o *orders) apply(order wadi.Order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kind := ordersNone
	switch order {
	case wadi.OrderGo:
		kind = ordersGo
	case wadi.OrderGoIfIdle:
		kind = ordersGoIfIdle
	}
	o.set(kind)
}

// set puts kind in force for the lease. The caller holds the mutex.
func (o *orders) set(kind int32) {
	was := o.kind.Swap(kind)
	o.generation++
	if o.end != nil {
		o.end.Stop()
	}
	if kind == ordersNone {
		o.since, o.last = time.Time{}, time.Time{}
	} else {
		if was == ordersNone {
			o.since = time.Now()
		}
		turn := o.generation
		o.end = time.AfterFunc(orderLease, func() { o.expire(turn) })
	}
	if was != kind {
		o.changed()
	}
}

func (o *orders) expire(turn int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.generation == turn {
		o.set(ordersNone)
	}
}

// noteRequest notes a request that is served despite an order to go.
func (o *orders) noteRequest(counted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch kind := o.kind.Load(); {
	case kind == ordersNone || !counted: // Monitors call every second; they count only while in flight.
	case kind == ordersGoIfIdle:
		o.set(ordersNone)
	default:
		o.last = time.Now()
	}
}

// durations returns the age of the order to go, and the time since the last request.
func (o *orders) durations() (since, quiet time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0, 0
	}
	since = time.Since(o.since)
	quiet = since
	if !o.last.IsZero() {
		quiet = time.Since(o.last)
	}
	return since, quiet
}

// diverts reports whether x, which is in flight, is to be sent elsewhere because of an order
// to go, and notes x if not. A request with a long body, or one of unknown length, is served:
// the activator may not have kept all of it. The answer then carries the order.
func (p *Proxy) diverts(r *http.Request, x *request) bool {
	if !p.orders.going() {
		return false
	}
	if p.orders.mustGo() {
		if x.proxied && r.ContentLength >= 0 && r.ContentLength <= replay.MaxKept {
			return true
		}
		x.tracker.Header().Set(wadi.HeaderOrder, string(wadi.OrderGo))
	}
	p.orders.noteRequest(x.counted)
	return false
}

// answerOrder applies an order of an activator, and answers what is in flight. An order of
// any other sender is refused: it could stop a service.
func (p *Proxy) answerOrder(x *request, r *http.Request, order wadi.Order) {
	if !p.identify(r.Header).proxied {
		x.WriteHeader(http.StatusForbidden)
		return
	}
	// The order comes before the count, so that a request which misses it is counted.
	p.orders.apply(order)
	if order == wadi.OrderGoIfIdle && p.inFlight.hasActivity() {
		p.orders.apply(wadi.OrderStay)
	}
	left := p.inFlight.remaining()
	since, quiet := p.orders.durations()
	told := wadi.OrderAnswer{
		Order: p.orders.current(), Requests: left.Requests, Tunnels: left.Tunnels,
		SinceMS: since.Milliseconds(), QuietMS: quiet.Milliseconds(),
	}
	x.Header().Set(wadi.HeaderOrder, string(told.Order))
	x.Header().Set("Content-Type", "application/json")
	x.WriteHeader(http.StatusOK)
	_ = json.NewEncoder(&x.response).Encode(told) // The reader has gone if this fails.
}
