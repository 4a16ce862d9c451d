package control_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
)

// An agent has many services that rest, and must not spend its time on them.
func TestController_SkipsServicesAtRest(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		id := c.submit("hello")
		time.Sleep(2 * time.Minute) // Long enough to go to zero.
		wantCount(t, c, id, 0)
		looks := func() int {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.reads
		}
		before := looks()
		time.Sleep(5 * time.Minute)
		if n := looks() - before; n > 40 {
			t.Errorf("looked %d times in five minutes at a service at zero", n)
		}
		before = looks()
		c.notify("hello")
		if looks() == before {
			t.Error("did not look at a service that was submitted again")
		}
	})
}

// What is resolved of a service is good until something of it changes, and no longer.
func TestLeader_ViewChangesWithWhatItShows(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, again func() *leader) {
		l := again()
		time.Sleep(10 * time.Second)
		before := l.Services()
		c.setLoad(id, 6)
		time.Sleep(time.Minute)
		if l.Services() != before {
			t.Error("got another view, though nothing that it shows has changed")
		}
		changed := func(what string, done func(*wadi.Stored) bool) {
			t.Helper()
			time.Sleep(5 * time.Second) // Panic is over after ten.
			now := l.Services()
			if now == before || now.Services["hello"] == before.Services["hello"] || !done(now.Services["hello"]) {
				t.Errorf("%s: it is not seen", what)
			}
			before = now
		}
		c.override(t, id, 2, time.Hour)
		changed("an override", func(s *wadi.Stored) bool { return s.Overrides[id].Count == 2 })
		two := c.submit("hello")
		c.setLoad(two, 5)
		changed("a revision", func(s *wadi.Stored) bool {
			_, routed := s.Route.Revisions[two]
			return s.Latest == two && routed && s.State.Revisions[two].Phase == wadi.Ready && s.Status.Phase == "ready"
		})
		c.setLoad(two, 500)
		changed("what panic has to remember", func(s *wadi.Stored) bool {
			return s.State.Revisions[two].Deciders[wadi.Concurrency].HighestInPanic > 1
		})
	})
}

// Instances are counted again when Nomad reports other ones.
func TestLeader_CountsInstancesThatCome(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, again func() *leader) {
		l := again()
		for _, n := range []int{3, 2} {
			c.override(t, id, n, time.Hour)
			time.Sleep(10 * time.Second)
			if d, _ := l.scaler.History.Last(id); d.Ready != n || d.Starting != 0 || !strings.Contains(d.Reason, "overridden to") {
				t.Errorf("at %d instances: %+v", n, d)
			}
		}
	})
}

// News of one service of many are no work about the others.
func TestController_NewsOfOneService(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		const services = 50
		for i := range services {
			c.submit(fmt.Sprintf("s%02d", i))
		}
		time.Sleep(2*time.Minute + 12*time.Second) // All are at zero, and none is read back now.
		for range 10 {
			synctest.Wait()
			c.mu.Lock()
			was, told := c.reads, c.sets
			c.named = []string{"s07"}
			c.change()
			c.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			c.mu.Lock()
			if n := c.reads - was; n == 0 || n > 4 {
				t.Errorf("looked %d times at revisions for news of one of %d services", n, services)
			}
			if n := c.sets - told; n > 0 {
				t.Errorf("told the meter %d times what is measured, though that is as before", n)
			}
			c.named = nil
			c.mu.Unlock()
		}
	})
}
