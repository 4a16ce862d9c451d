package control_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// override stores an override as the API does.
func (c *cluster) override(t *testing.T, revision string, count int, d time.Duration) {
	t.Helper()
	overrides := map[string]wadi.Override{}
	if d > 0 {
		overrides[revision] = wadi.Override{Count: count, Until: time.Now().Add(d), By: "alice"}
	}
	c.change1(t, func(s *wadi.Stored) { s.Overrides = overrides })
}

// change1 changes the stored service hello.
func (c *cluster) change1(t *testing.T, f func(*wadi.Stored)) {
	t.Helper()
	if err := c.edit("hello", f); err != nil {
		t.Fatal(err)
	}
	c.notify("hello")
}

// led runs a test on a service with one instance and some load.
func led(t *testing.T, test func(t *testing.T, c *cluster, id string, again func() *leader)) {
	t.Helper()
	ledBy(t, nil, test)
}

// ledBy is led, with leaders that give instances orders.
func ledBy(t *testing.T, orders control.Orders, test func(t *testing.T, c *cluster, id string, again func() *leader)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.orders = orders
		l, stop := lead(t, c)
		defer func() { stop() }()
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(5 * time.Second)
		test(t, c, id, func() *leader {
			stop()
			l, stop = lead(t, c)
			return l
		})
	})
}

func TestOverride_InForceAtOnceAndEndsByItself(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, again func() *leader) {
		c.override(t, "", 3, 30*time.Second)
		time.Sleep(time.Second)
		wantCount(t, c, id, 3)
		c.setLoad(id, 75) // More is wanted, and not given.
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 3)
		c.setLoad(id, 5)
		again() // It outlasts a leader.
		time.Sleep(15 * time.Second)
		wantCount(t, c, id, 3)
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, 1)
	})
}

func TestOverride_EndedByHand(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		c.override(t, id, 3, time.Hour)
		time.Sleep(time.Second)
		wantCount(t, c, id, 3)
		c.override(t, id, 0, 0)
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, 1)
	})
}

// At an override of zero nothing is raised, but waiting requests are served: the woken
// instance stays until nothing is in flight.
func TestOverride_OfZero(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		c.change1(t, func(s *wadi.Stored) { s.Service.Scale.Min = 1 })
		c.override(t, "", 0, time.Minute)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 1) // Requests are in flight.
		c.setLoad(id, 0)
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 0)
		if err := waker(c).Wake(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		c.setLoad(id, 50)
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 1)
		c.setLoad(id, 0)
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 0)
		time.Sleep(time.Minute)
		wantCount(t, c, id, 1)
	})
}

// An override of the service is of whichever revision has the traffic.
func TestOverride_FollowsTheTraffic(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, one string, _ func() *leader) {
		c.override(t, "", 3, time.Hour)
		time.Sleep(time.Second)
		two := c.submit("hello")
		c.setLoad(one, 0)
		c.setLoad(two, 5)
		time.Sleep(20 * time.Second)
		wantCount(t, c, two, 3)
		wantCount(t, c, one, -1)
	})
}

// Of two revisions that share the traffic it is the one with more of it.
func TestOverride_OfTheMainRevision(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, one string, _ func() *leader) {
		two := c.submit("hello")
		c.setLoad(two, 5)
		c.change1(t, func(s *wadi.Stored) {
			s.Service.Traffic = []wadi.TrafficTarget{{Revision: one, Percent: 90}, {Revision: two, Percent: 10}}
		})
		time.Sleep(5 * time.Second)
		c.override(t, "", 3, time.Hour)
		time.Sleep(5 * time.Second)
		wantCount(t, c, one, 3)
		wantCount(t, c, two, 1)
	})
}

// An override is newer than a count that was set by hand, and wins.
func TestOverride_AfterAScaleByHand(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		c.change1(t, func(s *wadi.Stored) { s.Service.Scale.ManualHold = wadi.Duration(time.Minute) })
		c.mu.Lock()
		c.byHandAt = time.Now()
		c.set(id, c.jobs[id].body, 4)
		c.mu.Unlock()
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 4)
		c.override(t, "", 2, time.Minute)
		time.Sleep(time.Second)
		wantCount(t, c, id, 2)
	})
}

// Nomad writes its scaling history after the count. Until then nothing is lowered, and a
// count whose origin never becomes known was not set by hand.
func TestByHand_KnownLater(t *testing.T) {
	for late, want := range map[int]int{1: 4, 3: 4, 1000: 1} {
		led(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
			c.change1(t, func(s *wadi.Stored) { s.Service.Scale.ManualHold = wadi.Duration(time.Minute) })
			c.mu.Lock()
			c.byHandAt, c.byHandUnknown = time.Now(), late
			c.set(id, c.jobs[id].body, 4)
			c.mu.Unlock()
			time.Sleep(40 * time.Second)
			wantCount(t, c, id, want)
		})
	}
}

// The same holds for a count of zero, which is not raised until then.
func TestByHand_ZeroIsKnownLater(t *testing.T) {
	for late, want := range map[int]int{1: 0, 3: 0, 1000: 2} {
		led(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
			c.change1(t, func(s *wadi.Stored) {
				s.Service.Scale.ManualHold, s.Service.Scale.Min = wadi.Duration(time.Minute), 2
			})
			time.Sleep(10 * time.Second)
			wantCount(t, c, id, 2)
			before := len(c.scaled())
			c.mu.Lock()
			c.byHandAt, c.byHandUnknown = time.Now(), late
			c.set(id, c.jobs[id].body, 0)
			c.mu.Unlock()
			time.Sleep(40 * time.Second)
			wantCount(t, c, id, want)
			if n := len(c.scaled()) - before; want == 0 && n > 0 {
				t.Errorf("it was raised meanwhile: %v", c.scaled())
			}
		})
	}
}

// A count that was set by hand stands for its time, under another leader too.
func TestByHand_StandsAcrossLeaders(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, again func() *leader) {
		c.change1(t, func(s *wadi.Stored) { s.Service.Scale.ManualHold = wadi.Duration(time.Minute) })
		c.mu.Lock()
		c.byHandAt = time.Now()
		c.set(id, c.jobs[id].body, 3)
		c.mu.Unlock()
		time.Sleep(5 * time.Second)
		l := again()
		time.Sleep(50 * time.Second)
		wantCount(t, c, id, 3)
		evs, _, _ := l.events.Since(0)
		if !slices.ContainsFunc(evs, func(e wadi.Event) bool { return e.Type == "Overridden" && strings.Contains(e.Message, "manual_hold") }) {
			t.Errorf("the new leader does not say why: %+v", evs)
		}
		d, ok := l.scaler.History.Last(id)
		if !ok || d.Executed || !strings.Contains(d.WhyNot, "by hand") || !d.OverrideUntil.After(time.Now()) {
			t.Errorf("got decision %+v, want it overridden by hand", d)
		}
		time.Sleep(20 * time.Second)
		wantCount(t, c, id, 1)

		l = again() // Long after, there is no event about it any more.
		c.setLoad(id, 35)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 4)
		evs, _, _ = l.events.Since(0)
		if slices.ContainsFunc(evs, func(e wadi.Event) bool { return e.Type == "Overridden" }) {
			t.Errorf("a later leader holds what is long over: %+v", evs)
		}
	})
}

// Changed bounds are in force within a second, and the job is only scaled.
func TestBounds_InForceAtOnce(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		for _, min := range []int{3, 5, 2} {
			time.Sleep(700 * time.Millisecond)
			before := len(c.scaled())
			c.change1(t, func(s *wadi.Stored) {
				s.Service.Scale.Min, s.Service.Scale.Max = min, 6
				s.Generation++
			})
			time.Sleep(900 * time.Millisecond)
			if min > 2 {
				wantCount(t, c, id, min)
				if n := len(c.scaled()) - before; n != 1 {
					t.Errorf("scaled %d times for a new floor, want once", n)
				}
			}
		}
		c.setLoad(id, 55)
		c.change1(t, func(s *wadi.Stored) { s.Service.Scale.Min, s.Service.Scale.Max = 0, 2 })
		time.Sleep(900 * time.Millisecond)
		wantCount(t, c, id, 2)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.registers > 0 {
			t.Errorf("the job was registered %d times", c.registers)
		}
	})
}
