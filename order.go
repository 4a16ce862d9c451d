package wadi

import (
	"errors"
	"time"
)

// Order is what the leader tells an instance before it changes the count: whether it
// is to be among those that Nomad stops next. An order ends by itself if it is not said
// again: whoever gave it may have died.
type Order string

// The orders.
const (
	OrderStay     Order = "stay"       // It stays, whatever it was told before.
	OrderGo       Order = "go"         // It goes: others take what comes.
	OrderGoIfIdle Order = "go-if-idle" // It goes, and no other stays: the first request that comes ends the order.
)

// HeaderOrder carries an order to a queue-proxy, in a probe of an activator. In answers
// it says what order is in force there; none is OrderStay. Without a probe it means
// nothing, and those are stripped from what callers send.
const HeaderOrder = "Wadi-Order"

// ErrNoOrders is the error of an instance that takes no orders: its queue-proxy is
// older than they are, or it has nothing to know an activator by.
var ErrNoOrders = errors.New("the instance takes no orders")

// OrderAnswer is what an instance answers to an order.
type OrderAnswer struct {
	Order    Order `json:"order"`    // In force from now on: OrderStay if it would not go.
	Requests int   `json:"requests"` // In flight or waiting there, without Tunnels.
	Tunnels  int   `json:"tunnels"`  // Upgraded connections.

	SinceMS int64 `json:"since_ms"` // How long it has been told to go, in milliseconds.
	QuietMS int64 `json:"quiet_ms"` // For how much of that no request has come which it took, but for quiet ones.
}

// Since is how long the instance has been told to go.
func (t OrderAnswer) Since() time.Duration { return time.Duration(t.SinceMS) * time.Millisecond }

// Quiet is for how much of that no request has come which it took.
func (t OrderAnswer) Quiet() time.Duration { return time.Duration(t.QuietMS) * time.Millisecond }
