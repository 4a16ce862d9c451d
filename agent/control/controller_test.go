package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

func TestLeader_FromSubmissionToZeroAndBack(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		id := c.submit("hello")
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 1)
		if got := c.service("hello"); got.Status.Phase != "ready" || got.Route.Targets[0].Revision != id {
			t.Fatalf("status %+v, route %+v", got.Status, got.Route)
		}
		c.setLoad(id, 35)
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 4)
		c.setLoad(id, 0)
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, 0)
		if !c.count0JobKept(id) {
			t.Fatal("the job of a routed revision at zero is gone")
		}
		n := len(c.scaled())
		time.Sleep(10 * time.Minute)
		if len(c.scaled()) != n {
			t.Fatalf("an idle service at zero was scaled: %v", c.scaled()[n:])
		}
		c.setLoad(id, 5) // Waiting at an activator, which wakes it: not twice.
		time.Sleep(10 * time.Second)
		if len(c.scaled()) != n {
			t.Fatalf("the leader woke it too: %v", c.scaled()[n:])
		}
	})
}

func TestLeader_SecondRevision(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		one := c.submit("hello")
		c.setLoad(one, 5)
		time.Sleep(3 * time.Second)
		two := c.submit("hello")
		c.setLoad(two, 5) // From the moment that it has the traffic; none would take it to zero.
		time.Sleep(3 * time.Second)
		if got := c.service("hello").Route.Targets[0].Revision; got != two {
			t.Fatalf("traffic goes to %s, want %s", got, two)
		}
		c.setLoad(one, 0)
		time.Sleep(20 * time.Second)
		wantCount(t, c, two, 1)
		wantCount(t, c, one, -1) // Retired: its job is purged, its revision kept.
		if got := len(c.service("hello").Revisions); got != 2 {
			t.Fatalf("%d revisions stored, want 2", got)
		}
	})
}

func TestLeader_BadRevisionChangesNothingForCallers(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		one := c.submit("hello")
		time.Sleep(3 * time.Second)
		c.setLoad(one, 5)
		c.mu.Lock()
		c.cantRun["hello-00002"] = "image missing"
		c.mu.Unlock()
		two := c.submit("hello")
		for range 90 {
			time.Sleep(time.Second)
			if got := c.service("hello").Route.Targets[0].Revision; got != one {
				t.Fatalf("traffic went to %s", got)
			}
		}
		st := c.service("hello").Status
		if st.Phase != "failed" || !strings.Contains(st.Revisions[1].Reason, "image missing") {
			t.Fatalf("status %+v", st)
		}
		wantCount(t, c, two, -1)
		wantCount(t, c, one, 1)
	})
}

func TestLeader_PutsBackJobs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		harm   func(*cluster, string)
		event  string
		unless int
	}{
		{"deleted", func(c *cluster, id string) { delete(c.jobs, id) }, "PutBack", 0},
		{"stopped", func(c *cluster, id string) {
			c.index++
			c.jobs[id].JobState = scheduler.JobState{Exists: true, Stopped: true, Index: c.index}
			c.jobs[id].allocs = nil
		}, "PutBack", 0},
		{"edited", func(c *cluster, id string) { c.set(id, "edited", 1) }, "DriftCorrected", 0},
		{"scaled by hand", func(c *cluster, id string) { c.set(id, c.jobs[id].body, 1) }, "", 0},
		{"edited, without plans", func(c *cluster, id string) { c.planless = true; c.set(id, "edited", 1) }, "DriftCorrected", 0},
		{"scaled by hand, without plans", func(c *cluster, id string) { c.planless = true; c.set(id, c.jobs[id].body, 1) }, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leading(t, func(t *testing.T, c *cluster, l *leader) {
				id := c.submit("hello")
				c.setLoad(id, 5)
				time.Sleep(3 * time.Second)
				c.mu.Lock()
				body := c.jobs[id].body
				tt.harm(c, id)
				c.change()
				c.mu.Unlock()
				time.Sleep(3 * time.Second)
				c.mu.Lock()
				got := c.jobs[id]
				c.mu.Unlock()
				if got == nil || got.body != body || got.Count != 1 || got.Stopped {
					t.Fatalf("job %+v, want as it was with 1", got)
				}
				evs, _, _ := l.events.Since(0)
				has := slices.ContainsFunc(evs, func(e wadi.Event) bool { return e.Type == tt.event })
				if tt.event != "" && !has {
					t.Fatalf("no event %s in %+v", tt.event, evs)
				}
				if tt.event == "" && slices.ContainsFunc(evs, func(e wadi.Event) bool { return e.Type == "DriftCorrected" }) {
					t.Fatalf("a count was taken for drift: %+v", evs)
				}
			})
		})
	}
}

// Where Nomad makes no plan, and does not say either whether a job was edited, nobody is
// accused of it.
func TestLeader_PutsBackJobs_NotKnown(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(3 * time.Second)
		c.mu.Lock()
		c.planless, c.editedErr = true, wadi.ErrUnavailable
		c.set(id, c.jobs[id].body, 1)
		c.change()
		c.mu.Unlock()
		time.Sleep(3 * time.Second)
		evs, _, _ := l.events.Since(0)
		i := slices.IndexFunc(evs, func(e wadi.Event) bool { return e.Type == "DriftCorrected" })
		if i < 0 || !strings.Contains(evs[i].Message, "may have been edited") {
			t.Errorf("events %+v", evs)
		}
	})
}

func TestLeader_NextTermGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		_, stop := lead(t, c)
		id := c.submit("hello")
		c.setLoad(id, 35)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 4)
		stop()
		n := len(c.scaled())
		_, stop = lead(t, c)
		defer stop()
		time.Sleep(9 * time.Second)
		if len(c.scaled()) != n {
			t.Fatalf("a new leader scaled: %v", c.scaled()[n:])
		}
	})
}

// A service that can't be read, because its key can't be decoded, is tried again with
// pauses, and is there as soon as it can.
func TestLeader_CantReadAService(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		c.mu.Lock()
		c.unloaded = errors.New("decode spec/hello: unexpected end")
		c.mu.Unlock()
		id := c.submit("hello")
		time.Sleep(time.Minute)
		c.mu.Lock()
		if c.loads < 2 || c.loads > 20 {
			t.Errorf("read %d times within a minute, want a few", c.loads)
		}
		c.unloaded = nil
		c.mu.Unlock()
		time.Sleep(20 * time.Second)
		if got := c.scaled(); !slices.Contains(got, id+"=1") {
			t.Errorf("scalings %v, want it started", got)
		}
	})
}

func TestLeader_ForeignEntriesAreReportedNotFought(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.foreign = "service-splitter hello is somebody else's"
		_, stop := lead(t, c)
		defer stop()
		c.submit("hello")
		time.Sleep(20 * time.Second)
		c.mu.Lock()
		applied := c.applied
		c.mu.Unlock()
		if applied > 2 {
			t.Fatalf("applied %d times within 20 s", applied)
		}
		found := false
		for _, cond := range c.service("hello").Status.Conditions {
			found = found || !cond.OK && strings.Contains(cond.Message, "somebody else's")
		}
		if !found {
			t.Fatalf("no condition says why: %+v", c.service("hello").Status.Conditions)
		}
	})
}

func TestLeader_QuietClusterWritesNothing(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		c.submit("hello")
		time.Sleep(time.Minute)
		c.mu.Lock()
		n := c.statuses
		c.mu.Unlock()
		time.Sleep(time.Hour)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.statuses != n {
			t.Fatalf("%d statuses written while nothing happened", c.statuses-n)
		}
	})
}
