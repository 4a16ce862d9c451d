package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

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

// A service that is being deleted is not woken, even if requests wait for it: the deletion
// would not end.
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
