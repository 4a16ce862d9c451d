package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
)

// Whoever gave an order may have died.
func TestOrders_EndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changes := 0
		o := orders{changed: func() { changes++ }}
		for range 5 {
			o.tell(wadi.OrderGo)
			time.Sleep(orderLease - time.Second)
		}
		if since, quiet := o.times(); !o.leaves() || since != 5*(orderLease-time.Second) || quiet != since {
			t.Errorf("said again and again: %v for %v, quiet %v", o.told(), since, quiet)
		}
		o.saw(true)
		time.Sleep(500 * time.Millisecond)
		if _, quiet := o.times(); quiet != 500*time.Millisecond {
			t.Errorf("quiet for %v", quiet)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if o.going() || changes != 2 {
			t.Errorf("%v, %d changes: not said again, it is over", o.told(), changes)
		}
		o.tell(wadi.OrderGoIfIdle)
		o.tell(wadi.OrderStay)
		time.Sleep(time.Minute)
		o.tell("what a newer leader may say")
		if o.going() || changes != 4 {
			t.Errorf("%v, %d changes", o.told(), changes)
		}
	})
}

// What is no activity is asked for again and again, by monitors: it delays nothing.
func TestOrders_QuietRequestsAreNoReasonToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := orders{changed: func() {}}
		for _, order := range []wadi.Order{wadi.OrderGoIfIdle, wadi.OrderGo} {
			o.tell(order)
			time.Sleep(time.Second)
			o.saw(false)
			if since, quiet := o.times(); o.told() != order || quiet != since {
				t.Errorf("%s: quiet for %v of %v", o.told(), quiet, since)
			}
		}
	})
}
