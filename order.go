package wadi

import (
	"errors"
	"time"
)

// Order says whether an instance is to drain. The leader sends it before it lowers the
// count, to the instances that Nomad will stop. An order expires unless it is repeated,
// because the leader that gave it may have died.
type Order string

// The orders.
const (
	OrderStay     Order = "stay"       // Serve; any earlier order ends.
	OrderGo       Order = "go"         // Drain: other instances take new requests.
	OrderGoIfIdle Order = "go-if-idle" // Drain, as the last instance: the first request that comes ends the order.
)

// HeaderOrder carries an order in an activator's probe of a queue-proxy. In the answer it
// is the order in force there; without it that is OrderStay. It has no meaning outside
// probes, which are stripped from what callers send.
const HeaderOrder = "Wadi-Order"

// ErrNoOrders: the instance takes no orders. Its queue-proxy is too old for them, or has
// no means to identify an activator.
var ErrNoOrders = errors.New("the instance takes no orders")

// OrderAnswer is the answer of an instance to an order.
type OrderAnswer struct {
	Order    Order `json:"order"`    // In force from now on: OrderStay if the instance refused to drain.
	Requests int   `json:"requests"` // In flight or waiting at the instance, without Tunnels.
	Tunnels  int   `json:"tunnels"`  // Upgraded connections.

	SinceMS int64 `json:"since_ms"` // Milliseconds since it was first ordered to drain.
	QuietMS int64 `json:"quiet_ms"` // The last of these milliseconds in which it accepted no request, quiet ones excepted.
}

// Since is the time since the instance was first ordered to drain.
func (t OrderAnswer) Since() time.Duration { return time.Duration(t.SinceMS) * time.Millisecond }

// Quiet is the last part of that time in which it accepted no request.
func (t OrderAnswer) Quiet() time.Duration { return time.Duration(t.QuietMS) * time.Millisecond }
