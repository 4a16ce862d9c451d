package control_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// many is as many services as a leader may have to take over.
const many = 2000

// submitMany stores services that were ready before this term, at zero.
func (c *cluster) submitMany(n int) (ids []string) {
	for i := range n {
		name := fmt.Sprintf("s%04d", i)
		id := c.submit(name)
		_ = c.edit(name, func(s *wadi.Stored) {
			s.State.Revisions = map[string]wadi.RevisionState{id: {Phase: wadi.Ready, WasReady: true}}
			s.Route = submittedRoute(s, id)
			c.layers[name] = s.Route
		})
		ids = append(ids, id)
	}
	return ids
}

// submittedRoute is the route that is planned for a service without one.
func submittedRoute(s *wadi.Stored, latest string) wadi.Route {
	d := scheduler.Desired{Service: s.Service, Latest: latest, Revisions: s.Revisions, State: s.State}
	for _, a := range scheduler.Plan(d, scheduler.Observed{}) {
		if a.Kind == scheduler.PutRoute {
			return a.Route
		}
	}
	return wadi.Route{}
}

// A new leader that does not know yet which jobs were edited scales at once: it waits for
// none of Nomad's plans, and asks for few at a time.
func TestLeader_ScalesBeforeDriftIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		ids := c.submitMany(many)
		busy := ids[many-1]
		body, _ := json.Marshal(busy)
		c.mu.Lock()
		c.set(busy, string(body), 1)
		c.mu.Unlock()
		time.Sleep(time.Minute)
		c.setLoad(busy, 35)
		c.planning = make(chan struct{}) // No plan is answered.
		_, stop := lead(t, c)
		time.Sleep(4 * time.Second) // Two turns of the autoscaler.
		wantCount(t, c, busy, 4)
		c.mu.Lock()
		if c.plans == 0 || c.plans > 4 {
			t.Errorf("%d plans at once, want a few", c.plans)
		}
		close(c.planning)
		c.mu.Unlock()
		time.Sleep(10 * time.Second)
		stop()
		c.mu.Lock()
		first := c.plans
		c.mu.Unlock()
		if first < many || first > many+10 {
			t.Errorf("%d plans, want one for each job", first)
		}

		// What is stored of them is enough for the next leader.
		_, stop = lead(t, c)
		defer stop()
		time.Sleep(10 * time.Second)
		c.mu.Lock()
		n := c.plans - first
		c.mu.Unlock()
		if n > 0 {
			t.Errorf("%d plans in the next term, though no job was changed", n)
		}
	})
}

// A job that was edited between two terms is put back, and so is one that was edited in a
// Nomad that was restored to an earlier state.
func TestLeader_NextTermFindsWhatWasEdited(t *testing.T) {
	for name, index := range map[string]func(before uint64) uint64{
		"edited":              func(before uint64) uint64 { return before + 1 },
		"restored and edited": func(before uint64) uint64 { return before - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				_, stop := lead(t, c)
				id := c.submit("hello")
				c.setLoad(id, 5)
				time.Sleep(5 * time.Second)
				stop()
				c.mu.Lock()
				j := c.jobs[id]
				j.body, j.Index = "edited", index(j.Index)
				c.index = max(c.index, j.Index)
				c.mu.Unlock()
				l, stop := lead(t, c)
				defer stop()
				time.Sleep(5 * time.Second)
				want, _ := json.Marshal(id)
				if got := c.bodyOf(id); got != string(want) {
					t.Errorf("its job is %q, want %q", got, want)
				}
				evs, _, _ := l.events.Since(0)
				if !slices.ContainsFunc(evs, func(e wadi.Event) bool { return e.Type == "DriftCorrected" }) {
					t.Errorf("events %+v, want that it was put back", evs)
				}
			})
		})
	}
}

// A new leader scales a job before it has checked whether it was edited between two terms.
// The job is checked all the same.
func TestLeader_FindsWhatWasEditedThoughItHasScaledIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		_, stop := lead(t, c)
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(5 * time.Second)
		stop()
		c.mu.Lock()
		c.set(id, "edited", 1)
		c.mu.Unlock()
		c.setLoad(id, 35)
		c.planning = make(chan struct{}) // No plan is answered.
		_, stop = lead(t, c)
		defer stop()
		time.Sleep(4 * time.Second)
		wantCount(t, c, id, 4)
		c.mu.Lock()
		close(c.planning)
		c.mu.Unlock()
		time.Sleep(5 * time.Second)
		want, _ := json.Marshal(id)
		if got := c.bodyOf(id); got != string(want) {
			t.Errorf("its job is %q, want %q", got, want)
		}
	})
}

// A failed plan is reported and tried again with pauses, and does not block anything else.
func TestLeader_PlansThatFail(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(5 * time.Second)
		c.mu.Lock()
		body, before := c.jobs[id].body, c.plans
		c.planErr = wadi.ErrForbidden
		c.set(id, "edited", 1)
		c.mu.Unlock()
		time.Sleep(time.Minute)
		failing := func(cond wadi.Condition) bool { return cond.Type == "Reconciled" && !cond.OK }
		if conds := c.service("hello").Status.Conditions; !slices.ContainsFunc(conds, failing) {
			t.Errorf("conditions %+v, want that it can't be checked", conds)
		}
		two := c.submit("hello")
		time.Sleep(20 * time.Second)
		if got := c.service("hello").Route.Targets[0].Revision; got != two {
			t.Errorf("traffic goes to %s, want %s", got, two)
		}
		c.mu.Lock()
		if n := c.plans - before; n < 2 || n > 30 {
			t.Errorf("%d plans within a minute, want a few", n)
		}
		c.planErr = nil
		c.mu.Unlock()
		c.change1(t, func(s *wadi.Stored) { s.Service.Traffic[0].Revision = id })
		time.Sleep(40 * time.Second)
		if got := c.bodyOf(id); got != body {
			t.Errorf("its job is %q, want %q", got, body)
		}
		if conds := c.service("hello").Status.Conditions; slices.ContainsFunc(conds, failing) {
			t.Errorf("conditions %+v, want none of a failure that is over", conds)
		}
	})
}

// planned is a plan of Nomad's, counted.
func (c *cluster) planned(ctx context.Context) error {
	c.mu.Lock()
	c.plans++
	wait, err := c.planning, c.planErr
	c.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (c *cluster) bodyOf(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jobs[id].body
}
