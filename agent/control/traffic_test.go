package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

// send changes where a service's traffic goes, as admission does.
func (c *cluster) send(name string, traffic ...wadi.TrafficTarget) {
	c.mu.Lock()
	s := c.stored[name]
	s.Service.Traffic = traffic
	s.Generation++
	c.stored[name] = s
	c.mu.Unlock()
	c.notify(name)
}

func condition(s wadi.Status, kind string) wadi.Condition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return wadi.Condition{}
}

func TestLeader_Traffic(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		one := c.submit("hello")
		time.Sleep(3 * time.Second)
		two := c.submit("hello")
		time.Sleep(time.Minute)
		wantCount(t, c, one, -1)

		before := len(c.scaled())
		c.send("hello", wadi.TrafficTarget{Revision: wadi.Latest, Percent: 99.5}, wadi.TrafficTarget{Revision: one, Percent: 0.5, Tag: "old"})
		time.Sleep(3 * time.Second)
		wantCount(t, c, one, 0) // Its job is back, and waits for a request.
		if got := c.scaled(); len(got) != before {
			t.Errorf("scaled %v: it was ready once, and need not prove it again", got[before:])
		}
		s := c.service("hello").Status
		want := []wadi.TargetStatus{{Revision: two, Percent: 99.5, Wanted: 99.5}, {Revision: one, Percent: 0.5, Wanted: 0.5, Tag: "old", URL: "http://old-hello"}}
		if diff := cmp.Diff(want, s.Traffic); diff != "" {
			t.Errorf("traffic (-want +got):\n%s", diff)
		}
		if r := condition(s, "Routed"); !r.OK || s.Revisions[0].Percent != 0.5 || s.Revisions[0].Phase != wadi.Ready {
			t.Errorf("condition %+v, revisions %+v", r, s.Revisions)
		}
		time.Sleep(10 * time.Minute)
		wantCount(t, c, one, 0) // It stays, though there are no calls.
	})
}

// Traffic that names a revision whose job Nomad does not take stays where it was,
// and status says so.
func TestLeader_TrafficWaitsForTheJob(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		one := c.submit("hello")
		time.Sleep(3 * time.Second)
		two := c.submit("hello")
		time.Sleep(time.Minute)
		wantCount(t, c, one, -1)
		c.mu.Lock()
		c.away = true
		c.mu.Unlock()
		c.send("hello", wadi.TrafficTarget{Revision: one, Percent: 100})
		time.Sleep(3 * time.Second)
		got := c.service("hello")
		if got.Route.Targets[0].Revision != two {
			t.Errorf("traffic went to %s, which has no job", got.Route.Targets[0].Revision)
		}
		if r := condition(got.Status, "Routed"); r.OK || r.Reason != "Held" || !strings.Contains(r.Message, one) {
			t.Errorf("condition %+v", r)
		}
		want := []wadi.TargetStatus{{Revision: two, Percent: 100}, {Revision: one, Wanted: 100}}
		if diff := cmp.Diff(want, got.Status.Traffic); diff != "" {
			t.Errorf("traffic (-want +got):\n%s", diff)
		}
		c.mu.Lock()
		c.away = false
		c.mu.Unlock()
		time.Sleep(time.Minute)
		got = c.service("hello")
		if r := condition(got.Status, "Routed"); !r.OK || got.Route.Targets[0].Revision != one {
			t.Errorf("condition %+v, route %+v", r, got.Route.Targets)
		}
		wantCount(t, c, two, -1)
		if p := condition(got.Status, "Pinned"); !p.OK || p.Reason != "File" || !strings.Contains(p.Message, two+", the newest ready revision, gets no traffic") || !strings.Contains(p.Message, "wadi traffic hello latest=100") {
			t.Errorf("condition %+v", p)
		}
		c.send("hello", wadi.TrafficTarget{Revision: one, Percent: 90}, wadi.TrafficTarget{Revision: two, Percent: 10})
		time.Sleep(time.Minute)
		if p := condition(c.service("hello").Status, "Pinned"); p != (wadi.Condition{}) {
			t.Errorf("condition %+v, though the newest revision has a share", p)
		}
	})
}
