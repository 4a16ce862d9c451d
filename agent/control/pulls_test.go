package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// revisionState is the stored state of the only revision of hello.
func (c *cluster) revisionState(id string) wadi.RevisionState {
	return c.service("hello").State.Revisions[id]
}

// A registry that says 429 is asked once, and then less and less often; the revision waits
// for it, and is ready soon after it answers.
func TestLeader_TooManyRequests(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		c.image("hello-00001", wadi.PullTooMany)
		began := time.Now()
		id := c.submit("hello")
		time.Sleep(time.Second)
		if n := c.asked(began); n != 1 {
			t.Errorf("asked %d times within a second, want once", n)
		}
		wantCount(t, c, id, 0)
		st := c.service("hello").Status
		if cond := conditionOf(st, "LatestReady"); !strings.Contains(cond.Message, "too many requests") {
			t.Errorf("status says %q, want why it is at zero", cond.Message)
		}
		time.Sleep(29 * time.Second)
		if n := c.asked(began); n < 2 || n > 3 {
			t.Errorf("asked %d times within half a minute, want 2 or 3", n)
		}
		if got := c.revisionState(id); got.Phase != wadi.Pending {
			t.Fatalf("it is %s (%s), want pending", got.Phase, got.Reason)
		}
		c.image(id, "")
		time.Sleep(30 * time.Second)
		if got := c.revisionState(id); got.Phase != wadi.Ready {
			t.Errorf("it is %s (%s) after the registry answered, want ready", got.Phase, got.Reason)
		}
	})
}

// What waiting does not mend fails after three instances, which Nomad places as always.
func TestLeader_HopelessPullFailsSoon(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		c.image("hello-00001", wadi.PullNoTag)
		began := time.Now()
		id := c.submit("hello")
		time.Sleep(35 * time.Second)
		got := c.revisionState(id)
		if got.Phase != wadi.Failed || !strings.HasPrefix(got.Reason, "3 instances, one after the other, could not have an image") {
			t.Fatalf("it is %s: %q, want failed for want of its image", got.Phase, got.Reason)
		}
		wantCount(t, c, id, -1)
		n := c.asked(began)
		if n > 3*pullTries {
			t.Errorf("asked %d times, want %d at most", n, 3*pullTries)
		}
		time.Sleep(10 * time.Minute)
		if again := c.asked(began); again != n {
			t.Errorf("asked %d times more after it had failed", again-n)
		}
	})
}

// Anything else is waited for until timeout.progress, and never more often than Nomad does
// by itself.
func TestLeader_RegistryAwayIsWaitedFor(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		c.image("hello-00001", wadi.PullAway)
		began := time.Now()
		id := c.submit("hello")
		time.Sleep(50 * time.Second)
		if got := c.revisionState(id); got.Phase != wadi.Pending {
			t.Fatalf("it is %s (%s), want pending", got.Phase, got.Reason)
		}
		if n := c.asked(began); n > 3*pullTries+2 {
			t.Errorf("asked %d times, want %d at most", n, 3*pullTries+2)
		}
		time.Sleep(12 * time.Second)
		if got := c.revisionState(id); got.Phase != wadi.Failed || !strings.Contains(got.Reason, "the registry is away") {
			t.Errorf("it is %s: %q, want failed after timeout.progress, with the reason", got.Phase, got.Reason)
		}
	})
}

// A revision that was ready never fails for good: it is tried again, and recovers.
func TestLeader_ReadyRevisionCantPull(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		c.setLoad(id, 0)
		time.Sleep(time.Minute)
		wantCount(t, c, id, 0)
		c.image(id, wadi.PullNoTag)
		w := wakerOfOne(c)
		for range 20 { // Requests come all the time.
			_ = w.Wake(context.Background(), id)
			time.Sleep(15 * time.Second)
		}
		if got := c.revisionState(id); got.Phase != wadi.Ready || !strings.Contains(got.StartFailure, "no such tag") {
			t.Fatalf("it is %s (start failure %q), want ready, and why it does not start", got.Phase, got.StartFailure)
		}
		if n := c.asked(time.Now().Add(-time.Minute)); n == 0 || n > 3 {
			t.Errorf("asked %d times in the last minute, want it tried, 3 times at most", n)
		}
		c.image(id, "")
		time.Sleep(2 * time.Minute)
		if err := w.Wake(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantCount(t, c, id, 1)
		if got := c.revisionState(id); got.StartFailure != "" {
			t.Errorf("start failure %q, want it over", got.StartFailure)
		}
	})
}

// While the image is not to be asked for, no agent wakes the revision, and callers learn
// why and how long.
func TestWaker_PullPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		id := c.submit("hello")
		c.image(id, wadi.PullTooMany)
		w := wakerOfOne(c)
		if err := w.Wake(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c.mu.Lock()
		c.set(id, `"hello-00001"`, 0) // As the leader does.
		calls := len(c.calls)
		c.mu.Unlock()
		err := w.Wake(context.Background(), id)
		var paused *wadi.PullPausedError
		if !errors.Is(err, wadi.ErrUnplaceable) || !errors.As(err, &paused) {
			t.Fatalf("got %v, want that it is paused", err)
		}
		if paused.Kind != wadi.PullTooMany || !strings.Contains(paused.Reason, "too many requests") || paused.For <= 0 || paused.For > 10*time.Second {
			t.Errorf("got %+v", paused)
		}
		if got := len(c.noted()); got != calls {
			t.Errorf("%d calls to Nomad, want none", got-calls)
		}
		time.Sleep(paused.For)
		if err := w.Wake(context.Background(), id); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

// beside is a cluster with further instances of a revision.
type beside struct {
	control.SyncedCluster
	eps []wadi.Endpoint
}

func (b beside) Endpoints(namespace, revision string) ([]wadi.Endpoint, <-chan struct{}) {
	eps, changed := b.SyncedCluster.Endpoints(namespace, revision)
	return append(slices.Clone(b.eps), eps...), changed
}

// A request waits for an instance that has its image, and starts, although another one lacks it.
func TestWaker_PullPauseBesideAnInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		id := c.submit("hello")
		c.image(id, wadi.PullTooMany)
		w := wakerOfOne(c)
		if err := w.Wake(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := w.Wake(context.Background(), id); err == nil {
			t.Fatal("got no error, want that it is paused")
		}
		w.Cluster = beside{w.Cluster, []wadi.Endpoint{{Instance: "starts", Namespace: "default", Running: true}}}
		if err := w.Wake(context.Background(), id); err != nil {
			t.Errorf("got %v beside an instance that starts, want that callers wait for it", err)
		}
	})
}

// wakerOfOne is a waker of a revision that begins with one instance.
func wakerOfOne(c *cluster) *control.Waker {
	w := waker(c)
	route, _ := w.Route("hello")
	route.Revisions = map[string]wadi.RouteRevision{"hello-00001": {Activation: 1}}
	w.Route = func(string) (wadi.Route, bool) { return route, true }
	return w
}

// conditionOf is one condition of a service.
func conditionOf(st wadi.Status, kind string) wadi.Condition {
	for _, c := range st.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return wadi.Condition{}
}
