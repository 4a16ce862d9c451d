package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// obedient are instances that obey orders, as queue-proxies do.
type obedient struct {
	mu    sync.Mutex
	busy  map[string]int // Requests in flight.
	going map[string]goer
	deaf  bool
	away  bool
}

type goer struct {
	order       wadi.Order
	since, said time.Time
}

// isOver: the order was not repeated, so the instance stays.
func (g goer) isOver() bool { return time.Since(g.said) >= 10*time.Second }

func (o *obedient) SendOrder(_ context.Context, ep wadi.Endpoint, order wadi.Order) (wadi.OrderAnswer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.going[ep.Instance]
	if g.isOver() {
		g = goer{}
	}
	switch {
	case o.away:
		return wadi.OrderAnswer{}, errors.New("connection refused")
	case o.deaf:
		return wadi.OrderAnswer{}, wadi.ErrNoOrders
	case order == wadi.OrderStay, order == wadi.OrderGoIfIdle && o.busy[ep.Instance] > 0:
		delete(o.going, ep.Instance)
		return wadi.OrderAnswer{Order: wadi.OrderStay, Requests: o.busy[ep.Instance]}, nil
	case g.order == "":
		g.since = time.Now()
	}
	g.order, g.said = order, time.Now()
	o.going[ep.Instance] = g
	ms := time.Since(g.since).Milliseconds()
	return wadi.OrderAnswer{Order: order, Requests: o.busy[ep.Instance], SinceMS: ms, QuietMS: ms}, nil
}

func (o *obedient) set(f func(*obedient)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o)
}

// told are the instances with an order to drain, sorted.
func (o *obedient) told() (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, g := range o.going {
		if !g.isOver() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// leaving runs a test on a service that is overridden to three instances.
func leaving(t *testing.T, test func(t *testing.T, c *cluster, o *obedient, id string, l func() *leader)) {
	t.Helper()
	o := &obedient{busy: map[string]int{}, going: map[string]goer{}}
	ledBy(t, o, func(t *testing.T, c *cluster, id string, again func() *leader) {
		c.override(t, "", 3, time.Hour)
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 3)
		test(t, c, o, id, again)
	})
}

func wantTold(t *testing.T, o *obedient, want ...string) {
	t.Helper()
	if got := o.told(); !slices.Equal(got, want) {
		t.Errorf("%v are to go, want %v", got, want)
	}
}

func TestScaleDown_WaitsForRequestsInFlight(t *testing.T) {
	leaving(t, func(t *testing.T, c *cluster, o *obedient, id string, _ func() *leader) {
		o.set(func(o *obedient) { o.busy["alloc-2"] = 1 })
		c.override(t, "", 1, time.Hour)
		time.Sleep(time.Second)
		wantTold(t, o, "alloc-2", "alloc-3")
		wantCount(t, c, id, 3)
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 2) // The idle one need not wait for the other.
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 2)
		o.set(func(o *obedient) { o.busy["alloc-2"] = 0 })
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 1)
	})
}

// Load that comes back needs no start: draining instances stay.
func TestScaleDown_LoadIsBack(t *testing.T) {
	leaving(t, func(t *testing.T, c *cluster, o *obedient, id string, again func() *leader) {
		o.set(func(o *obedient) { o.busy["alloc-3"] = 1 })
		c.override(t, "", 1, time.Hour)
		time.Sleep(10 * time.Second)
		wantTold(t, o, "alloc-2", "alloc-3")
		again() // The next leader goes on.
		time.Sleep(10 * time.Second)
		wantTold(t, o, "alloc-2", "alloc-3")
		wantCount(t, c, id, 3)
		c.override(t, "", 2, time.Hour)
		time.Sleep(3 * time.Second)
		wantTold(t, o, "alloc-3")
		c.override(t, "", 3, time.Hour)
		time.Sleep(3 * time.Second)
		wantTold(t, o)
		wantCount(t, c, id, 3)
	})
}

func TestScaleDown_ToZeroOnlyWithoutRequests(t *testing.T) {
	leaving(t, func(t *testing.T, c *cluster, o *obedient, id string, _ func() *leader) {
		o.set(func(o *obedient) { o.busy["alloc-1"] = 1 }) // No statistics have reported it yet.
		c.setLoad(id, 0)
		c.override(t, "", 0, time.Hour)
		time.Sleep(20 * time.Second)
		wantCount(t, c, id, 3)
		o.set(func(o *obedient) { o.busy["alloc-1"] = 0 })
		time.Sleep(6 * time.Second)
		wantCount(t, c, id, 0)
	})
}

// An instance whose order expired long ago has taken requests since: it drains as if the
// order were its first.
func TestScaleDown_NomadWasAway(t *testing.T) {
	leaving(t, func(t *testing.T, c *cluster, o *obedient, id string, _ func() *leader) {
		away := func(yes bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.disconnected = yes
			c.change()
		}
		o.set(func(o *obedient) { o.busy["alloc-3"] = 1 })
		c.override(t, "", 2, 24*time.Hour)
		time.Sleep(5 * time.Second)
		wantTold(t, o, "alloc-3")
		away(true)
		time.Sleep(2*time.Hour + time.Minute)                   // Longer than its requests may take, twice.
		o.set(func(o *obedient) { delete(o.going, "alloc-3") }) // Orders end by themselves.
		away(false)
		time.Sleep(10 * time.Second)
		wantTold(t, o, "alloc-3")
		wantCount(t, c, id, 3)
		o.set(func(o *obedient) { o.busy["alloc-3"] = 0 })
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 2)
	})
}

// No order is cancelled because nothing is known for a moment: on a busy machine no drain
// would ever last long enough.
func TestScaleDown_NothingIsKnownForAMoment(t *testing.T) {
	leaving(t, func(t *testing.T, c *cluster, o *obedient, id string, _ func() *leader) {
		unknown := func(yes bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.readyUnknown = yes
		}
		o.set(func(o *obedient) { o.busy["alloc-2"] = 1 })
		c.override(t, "", 0, 0) // Its load of 5 wants one.
		time.Sleep(1500 * time.Millisecond)
		wantTold(t, o, "alloc-2", "alloc-3")
		for range 5 {
			unknown(true)
			time.Sleep(1500 * time.Millisecond)
			if told := o.told(); !slices.Contains(told, "alloc-2") {
				t.Errorf("%v are to go", told)
			}
			unknown(false)
			time.Sleep(1500 * time.Millisecond)
		}
		wantCount(t, c, id, 2)
		unknown(true)
		time.Sleep(15 * time.Second) // If that lasts their orders end by themselves.
		wantTold(t, o)
		wantCount(t, c, id, 2)
	})
}

// An instance that takes no orders is stopped without one; its own drain is all there is.
func TestScaleDown_InstancesWithoutOrders(t *testing.T) {
	leaving(t, func(t *testing.T, c *cluster, o *obedient, id string, again func() *leader) {
		o.set(func(o *obedient) { o.deaf = true })
		c.override(t, "", 2, time.Hour)
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 2)
		o.set(func(o *obedient) { o.deaf, o.away = false, true })
		l := again()
		c.override(t, "", 1, time.Hour)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 2)
		d := l.scaler.History.Of(id)
		if last := d[len(d)-1]; !strings.Contains(last.WhyNot, "in flight") || last.Executed {
			t.Errorf("%+v", last)
		}
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 1)
	})
}

var _ control.Orders = (*obedient)(nil)
