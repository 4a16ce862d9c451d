package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/scheduler"
)

func (c *cluster) count(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[id]; j != nil {
		return j.Count
	}
	return -1
}

func (c *cluster) scaled() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.scales), func(s string) bool { return strings.HasSuffix(s, " confirmed") })
}

// notify tells the leader that somebody submitted a service.
func (c *cluster) notify(name string) {
	c.mu.Lock()
	watch := c.watch
	c.mu.Unlock()
	watch([]string{name})
}

func (c *cluster) setLoad(id string, l float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.load[id] = l; l == 0 {
		c.quiet[id] = time.Now()
	}
}

func (c *cluster) service(name string) wadi.Stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stored[name]
}

func wantCount(t *testing.T, c *cluster, id string, want int) {
	t.Helper()
	synctest.Wait()
	if got := c.count(id); got != want {
		t.Fatalf("count of %s is %d, want %d (-1 is no job); scalings: %v", id, got, want, c.scaled())
	}
}

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

func (c *cluster) count0JobKept(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jobs[id] != nil
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

func TestLeader_CountSetByHandStandsForAWhile(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		id := c.submit("hello")
		time.Sleep(time.Second)
		if err := c.edit("hello", func(s *wadi.Stored) { s.Service.Scale.ManualHold = wadi.Duration(time.Minute) }); err != nil {
			t.Fatal(err)
		}
		c.notify("hello")
		c.setLoad(id, 5)
		time.Sleep(5 * time.Second)
		c.mu.Lock()
		c.handAt = time.Now()
		c.set(id, c.jobs[id].body, 3)
		c.mu.Unlock()
		time.Sleep(55 * time.Second)
		wantCount(t, c, id, 3)
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, 1)
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

func TestLeader_Delete(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		id, other := c.submit("hello"), c.submit("other")
		time.Sleep(3 * time.Second)
		for _, id := range []string{id, other} {
			if _, ok := l.scaler.History.Last(id); !ok {
				t.Fatalf("nothing was decided about %s", id)
			}
		}
		if err := c.edit("hello", func(s *wadi.Stored) { s.Deleting = true }); err != nil {
			t.Fatal(err)
		}
		c.notify("hello")
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, -1)
		if d, ok := l.scaler.History.Last(id); ok {
			t.Errorf("still remembers of a revision that is gone: %v", d)
		}
		if _, ok := l.scaler.History.Last(other); !ok {
			t.Error("forgot a revision that is there")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.stored) != 1 || len(c.layers) != 1 {
			t.Fatalf("left behind: store %v, network %v; want those of other alone", c.stored, c.layers)
		}
	})
}

// While the instances of a service that is deleted finish what they have, its status
// says what that is; and each job's end is told once, though Nomad lists it for a while.
func TestLeader_DeleteSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.ends, c.late = 10*time.Second, 300*time.Millisecond
		c.drains = func(string) string { return "draining: waits for 3 requests and 1 tunnel" }
		l, stop := lead(t, c)
		defer stop()
		id := c.submit("hello")
		time.Sleep(3 * time.Second)
		if err := c.edit("hello", func(s *wadi.Stored) { s.Deleting = true }); err != nil {
			t.Fatal(err)
		}
		c.notify("hello")
		time.Sleep(5 * time.Second)
		c.mu.Lock()
		st := c.stored["hello"].Status
		c.mu.Unlock()
		want := wadi.Condition{Type: control.ConditionDrained, Reason: "Draining", Message: id + ": 1 instance ends, draining: waits for 3 requests and 1 tunnel"}
		i := slices.IndexFunc(st.Conditions, func(c wadi.Condition) bool { return c.Type == want.Type })
		if i < 0 {
			t.Fatalf("conditions %+v, want %s", st.Conditions, want.Type)
		}
		got := st.Conditions[i]
		if got.Since = want.Since; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		time.Sleep(10 * time.Second)
		purged := 0
		for _, e := range l.events.Of("hello", time.Time{}) {
			if e.Type == "Purged" {
				purged++
			}
		}
		if purged != 1 {
			t.Errorf("%d times it is told that the job was purged, want once", purged)
		}
	})
}

// A service that can't be read, as one whose key nobody can decode, is tried again with
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

// A service whose entries somebody else's need goes all the same, and it is said what
// stays.
func TestLeader_DeleteEndsAtForeignEntries(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		c.submit("hello")
		time.Sleep(3 * time.Second)
		c.mu.Lock()
		c.needed = fmt.Errorf("service-splitter hello needs service-defaults hello: %w", wadi.ErrForeign)
		c.mu.Unlock()
		if err := c.edit("hello", func(s *wadi.Stored) { s.Deleting = true }); err != nil {
			t.Fatal(err)
		}
		c.notify("hello")
		time.Sleep(10 * time.Second)
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.stored) != 0 {
			t.Fatalf("it is still stored: %v", c.stored)
		}
		var types []string
		for _, e := range l.events.Of("hello", time.Time{}) {
			types = append(types, e.Type)
			if e.Type == "LeftBehind" && !strings.Contains(e.Message, "service-splitter hello needs") {
				t.Errorf("got %q, want what stays", e.Message)
			}
		}
		if n := len(types); n < 2 || !slices.Equal(types[n-2:], []string{"LeftBehind", "Deleted"}) {
			t.Errorf("events %v, want LeftBehind and Deleted at the end", types)
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

func waker(c *cluster) *control.Waker {
	return &control.Waker{
		Jobs: c, Purger: c, Cluster: view{c}, Store: c, Events: &control.Events{}, Owned: &control.Owned{}, Log: hclog.NewNullLogger(),
		Route: func(string) (wadi.Route, bool) {
			return wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{{Revision: "hello-00001", Weight: 10000}}, Revisions: map[string]wadi.RouteRevision{"hello-00001": {Activation: 2}}}, true
		},
	}
}

func TestWaker(t *testing.T) {
	for _, tt := range []struct {
		name  string
		harm  func(*cluster)
		count int
		err   error
	}{
		{"at zero", func(*cluster) {}, 2, nil},
		{"met another change", func(c *cluster) { c.stale = true }, 2, nil},
		{"job missing", func(c *cluster) { delete(c.jobs, "hello-00001") }, 2, nil},
		{"up already", func(c *cluster) { b, _ := json.Marshal("hello-00001"); c.set("hello-00001", string(b), 1) }, 1, nil},
		{"nomad away", func(c *cluster) { c.away = true }, 0, wadi.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				id := c.submit("hello")
				c.mu.Lock()
				tt.harm(c)
				c.mu.Unlock()
				err := waker(c).Wake(context.Background(), id)
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				if got := c.count(id); got != tt.count {
					t.Fatalf("count %d, want %d", got, tt.count)
				}
			})
		})
	}
}

// A service that is being deleted is not woken, whoever waits for it: the deletion would
// not end.
func TestWaker_NotWhatIsDeleted(t *testing.T) {
	c := newCluster()
	c.set("hello-00001", "x", 0)
	w := waker(c)
	route, _ := w.Route("hello")
	route.Targets = nil
	w.Route = func(string) (wadi.Route, bool) { return route, true }
	if err := w.Wake(t.Context(), "hello-00001"); !errors.Is(err, wadi.ErrUnplaceable) {
		t.Errorf("got %v, want that it can't run", err)
	}
	if job, _ := c.Job(t.Context(), "", "hello-00001"); job.Count != 0 {
		t.Errorf("it was scaled to %d", job.Count)
	}
}

func TestWaker_UnknownRevision(t *testing.T) {
	if err := waker(newCluster()).Wake(context.Background(), "hello-00009"); !errors.Is(err, wadi.ErrNotFound) {
		t.Fatalf("error %v, want not found", err)
	}
}

// calls are what Nomad was asked to do, in order.
func (c *cluster) noted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// From zero nothing stands between the request and the one call that scales the job:
// nothing is read before it, neither from Nomad nor from the store.
func TestWaker_OneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		id := c.submit("hello")
		began := time.Now()
		if err := waker(c).Wake(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		if got := c.noted(); !slices.Equal(got, []string{"Scale"}) || time.Since(began) > 0 {
			t.Errorf("got the calls %v after %v, want one Scale at once", got, time.Since(began))
		}
	})
}

// A revision whose queue grows is evaluated at once, and not when the others are.
func TestAutoscaler_BacklogIsEvaluatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		_, stop := lead(t, c)
		defer stop()
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(5*time.Second + 100*time.Millisecond)
		c.setLoad(id, 35)
		for _, id := range []string{id, "gone-00001", "hello-00009"} {
			c.backlog.Add(id)
		}
		time.Sleep(time.Millisecond)
		wantCount(t, c, id, 4)
		c.setLoad(id, 75) // What it holds is measured a little later.
		time.Sleep(600 * time.Millisecond)
		wantCount(t, c, id, 8)
	})
}

// What a next leader has to know is stored soon after it is decided.
func TestLeader_PanicIsStoredSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		_, stop := lead(t, c)
		defer stop()
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(time.Second)
		c.change1(t, func(s *wadi.Stored) { s.Service.Scale.Max = 1 }) // Nothing else will make anybody look.
		time.Sleep(10*time.Second + 300*time.Millisecond)              // Between the turns of controller and autoscaler.
		c.setLoad(id, 95)
		c.backlog.Add(id)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		d := c.service("hello").State.Revisions[id].Deciders[wadi.Concurrency]
		if d.PanicSince.IsZero() || d.HighestInPanic != 10 {
			t.Errorf("stored is %+v, want the panic and its 10 instances", d)
		}
	})
}

// Before instances go, everybody is asked once more: what an open poll has not told
// keeps them.
func TestAutoscaler_LowersOnlyWhatIsConfirmed(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		id := c.submit("hello")
		c.setLoad(id, 35)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 4)
		c.mu.Lock()
		c.untold = map[string]float64{id: 35}
		c.load[id] = 0
		c.mu.Unlock()
		time.Sleep(time.Minute)
		wantCount(t, c, id, 4)
	})
}
