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

// orderLease is how long an order is in force that is not said again. Who gives
// orders says them again every few seconds.
const orderLease = 10 * time.Second

// orders are what the leader tells the instance before it changes the count: to go, so
// that the count is lowered only when nothing is in flight here, or to stay. Unlike a
// drain it can be taken back, and ends by itself. Connections are left alone: who comes
// all the same is served, but for activators, which can send elsewhere.
type orders struct {
	changed func()

	kind atomic.Int32 // A kind of order, for those who only want to know whether there is one.

	mu         sync.Mutex
	since      time.Time // When it was told to go first.
	last       time.Time // When a request came since that it took and that counts as activity; zero: none did.
	end        *time.Timer
	generation int // Counts the orders, for a timer that comes too late.
}

// The kinds of orders, as numbers.
const (
	ordersNone int32 = iota
	ordersGo
	ordersGoIfIdle
)

func (o *orders) going() bool  { return o.kind.Load() != ordersNone }
func (o *orders) mustGo() bool { return o.kind.Load() == ordersGo }

// current is the order that is in force.
func (o *orders) current() wadi.Order {
	switch o.kind.Load() {
	case ordersGo:
		return wadi.OrderGo
	case ordersGoIfIdle:
		return wadi.OrderGoIfIdle
	}
	return wadi.OrderStay
}

// apply takes in an order.
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

// set makes kind what is in force, for the lease. The caller holds the mutex.
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

// noteRequest notes a request that is served although the instance is to go.
func (o *orders) noteRequest(counted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch kind := o.kind.Load(); {
	case kind == ordersNone || !counted: // Monitors come every second; while they are here they count.
	case kind == ordersGoIfIdle:
		o.set(ordersNone)
	default:
		o.last = time.Now()
	}
}

// durations are for how long it is to go, and for how long no request has come.
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

// diverts reports whether x, which is among the live ones, is better sent elsewhere
// because the instance is to go, and notes it if not. Whose body is long, or of no known
// length, is served: who sent it may not have all of it any more. Its answer says what
// an activator has to know.
func (p *Proxy) diverts(r *http.Request, x *request) bool {
	if !p.orders.going() {
		return false
	}
	if p.orders.mustGo() {
		if x.proxied && r.ContentLength >= 0 && r.ContentLength <= replay.MaxKept {
			return true
		}
		x.timed.Header().Set(wadi.HeaderOrder, string(wadi.OrderGo))
	}
	p.orders.noteRequest(x.counted)
	return false
}

// answerOrder carries out an order of an activator, and says what is still here. Of
// anybody else it is refused: who could drain instances could stop a service.
func (p *Proxy) answerOrder(x *request, r *http.Request, order wadi.Order) {
	if !p.identify(r.Header).proxied {
		x.WriteHeader(http.StatusForbidden)
		return
	}
	// First the order and then the count: a request that it does not meet is counted.
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
