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

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// The deletion of a service that is called all the time does not fight its callers: they
// are routed away before the first job is purged, and nothing is registered any more.
func TestLeader_DeleteUnderCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.ends = 5 * time.Second
		_, stop := lead(t, c)
		defer stop()
		id := c.submit("hello")
		time.Sleep(3 * time.Second)
		w := waker(c)
		w.Route = func(service string) (wadi.Route, bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			s, ok := c.stored[service]
			return s.Route, ok
		}
		if err := c.edit("hello", func(s *wadi.Stored) { s.Deleting = true }); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		registers := c.registers
		c.mu.Unlock()
		c.notify("hello")
		for range 1000 {
			_ = w.Wake(t.Context(), id)
			time.Sleep(10 * time.Millisecond)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.registers != registers || len(c.stored) > 0 || len(c.jobs) > 0 || len(c.layers) > 0 {
			t.Errorf("%d registrations; left are %v, jobs %v, layers %v; want none", c.registers-registers, c.stored, c.jobs, c.layers)
		}
	})
}

// Layers that take nothing keep the instances of a deleted service for a while only.
func TestLeader_DeleteWithoutTheLayers(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		id := c.submit("hello")
		time.Sleep(3 * time.Second)
		c.mu.Lock()
		c.ignoresRoutes = true
		c.mu.Unlock()
		if err := c.edit("hello", func(s *wadi.Stored) { s.Deleting = true }); err != nil {
			t.Fatal(err)
		}
		c.notify("hello")
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 1)
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, -1)
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.stored) > 0 {
			t.Errorf("it is still stored: %v", c.stored)
		}
	})
}

// forgetful is a cluster whose leader forgets the service while a wake is under way:
// before the job is registered, or just before the answer.
type forgetful struct {
	*cluster
	before, after bool
}

func (f *forgetful) Revision(ctx context.Context, service, id string) (wadi.Revision, error) {
	rev, err := f.cluster.Revision(ctx, service, id)
	if f.before {
		_ = f.Forget(ctx, service)
	}
	return rev, err
}

func (f *forgetful) Register(ctx context.Context, body json.RawMessage, count int, index uint64) (uint64, error) {
	index, err := f.cluster.Register(ctx, body, count, index)
	if f.after {
		_ = f.Forget(ctx, "hello")
	}
	return index, err
}

// A wake that read its service before the deletion leaves no job behind, of which no loop
// would know.
func TestWaker_TakesBackWhatIsForgotten(t *testing.T) {
	for name, f := range map[string]*forgetful{
		"forgotten before the registration": {before: true},
		"forgotten during it":               {after: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.cluster = newCluster()
				id := f.submit("hello")
				delete(f.jobs, id)
				w := waker(f.cluster)
				w.Jobs, w.Purger, w.Store = f, f, f
				if err := w.Wake(t.Context(), id); !errors.Is(err, wadi.ErrNotFound) {
					t.Errorf("got %v, want not found", err)
				}
				if job, _ := f.Job(t.Context(), "", id); job.Exists || f.registers != 1 {
					t.Errorf("after %d registrations there is %+v, want none", f.registers, job)
				}
			})
		})
	}
}

// A wake that meets the deletion does not decide again by what it knew before.
func TestWaker_DeletedBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		id := c.submit("hello")
		w := waker(c)
		asked := 0
		before := w.Route
		w.Route = func(service string) (wadi.Route, bool) {
			route, ok := before(service)
			if asked++; asked > 1 {
				route.Targets = nil
			}
			return route, ok
		}
		c.stale = true // The leader has stopped the job.
		if err := w.Wake(t.Context(), id); !errors.Is(err, wadi.ErrUnplaceable) {
			t.Errorf("got %v, want that it can't run", err)
		}
		if got := c.count(id); got != 0 || c.registers != 0 {
			t.Errorf("%d registrations and a count of %d, want none", c.registers, got)
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
// says what that is. Each purge is one event, though Nomad lists the job for a while.
func TestLeader_DeleteReportsWhatItWaitsFor(t *testing.T) {
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
			t.Errorf("the purge is %d events, want one", purged)
		}
	})
}

// A service whose entries foreign ones refer to is deleted all the same, and an event says
// what stays.
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
