package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
)

// An order expires, as its leader may have died.
func TestOrders_EndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changes := 0
		o := orders{changed: func() { changes++ }}
		for range 5 {
			o.apply(wadi.OrderGo)
			time.Sleep(orderLease - time.Second)
		}
		if since, quiet := o.durations(); !o.mustGo() || since != 5*(orderLease-time.Second) || quiet != since {
			t.Errorf("said again and again: %v for %v, quiet %v", o.current(), since, quiet)
		}
		o.noteRequest(true)
		time.Sleep(500 * time.Millisecond)
		if _, quiet := o.durations(); quiet != 500*time.Millisecond {
			t.Errorf("quiet for %v", quiet)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if o.going() || changes != 2 {
			t.Errorf("%v, %d changes: not said again, it is over", o.current(), changes)
		}
		o.apply(wadi.OrderGoIfIdle)
		o.apply(wadi.OrderStay)
		time.Sleep(time.Minute)
		o.apply("what a newer leader may say")
		if o.going() || changes != 4 {
			t.Errorf("%v, %d changes", o.current(), changes)
		}
	})
}

// Requests that don't count as activity, such as a monitor's, delay nothing.
func TestOrders_QuietRequestsAreNoReasonToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := orders{changed: func() {}}
		for _, order := range []wadi.Order{wadi.OrderGoIfIdle, wadi.OrderGo} {
			o.apply(order)
			time.Sleep(time.Second)
			o.noteRequest(false)
			if since, quiet := o.durations(); o.current() != order || quiet != since {
				t.Errorf("%s: quiet for %v of %v", o.current(), quiet, since)
			}
		}
	})
}
