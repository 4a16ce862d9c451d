package activator_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// clocked is an activator in a bubble of fake time, where every dial is refused
// unless dial says otherwise.
type clocked struct {
	*cluster
	act   *activator.Activator
	reg   *prometheus.Registry
	dial  func(context.Context) (net.Conn, error) // Set before instances are placed.
	start time.Time
	stop  context.CancelFunc
	ran   chan error

	mu    sync.Mutex
	woken []time.Duration // When each wake came.
	dials int
}

func newClocked(t *testing.T, routes map[string]wadi.Route, maxWakes float64, edit ...func(*activator.Config)) *clocked {
	t.Helper()
	c := &clocked{cluster: newCluster(), reg: prometheus.NewRegistry(), start: time.Now(), ran: make(chan error, 1)}
	cfg := activator.Config{
		Name: "agent", Boot: "1", Endpoints: c, Waker: c, Diagnoses: c, Dialer: c, Settings: activator.Settings{MaxWakes: maxWakes},
		Log: hclog.NewNullLogger(), Registerer: c.reg,
	}
	for _, f := range edit {
		f(&cfg)
	}
	a, err := activator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.SetRoutes(routes)
	c.act = a
	ctx, cancel := context.WithCancel(t.Context())
	c.stop = cancel
	go func() { c.ran <- a.Run(ctx) }()
	return c
}

func (c *clocked) end(t *testing.T) {
	t.Helper()
	c.stop()
	if err := <-c.ran; err != nil {
		t.Error(err)
	}
}

func (c *clocked) Wake(ctx context.Context, rev string) error {
	c.mu.Lock()
	c.woken = append(c.woken, time.Since(c.start))
	c.mu.Unlock()
	return c.cluster.Wake(ctx, rev)
}

func (c *clocked) Dial(ctx context.Context, _ wadi.Endpoint) (net.Conn, error) {
	c.mu.Lock()
	c.dials++
	c.mu.Unlock()
	if c.dial != nil {
		return c.dial(ctx)
	}
	return nil, errors.New("connection refused")
}

func (c *clocked) wakeTimes() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.woken)
}

func (c *clocked) dialled() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dials
}

// ask serves one request, and returns its status, its body and how long it took.
func (c *clocked) ask(t *testing.T, service, revision string) (status int, body string, took time.Duration) {
	t.Helper()
	w := httptest.NewRecorder()
	began := time.Now()
	c.act.ServeRevision(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), service, revision)
	return w.Code, w.Body.String(), time.Since(began)
}

func minute() wadi.RouteRevision {
	s := settings()
	s.Queue.Timeout = wadi.Duration(time.Minute)
	s.Timeout.Request = wadi.Duration(5 * time.Minute)
	return s
}

func TestWakes_BoundedPerSecondOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := map[string]wadi.Route{}
		for i := range 50 {
			name := fmt.Sprintf("s%02d", i)
			id := wadi.RevisionID(name, 1)
			all[name] = wadi.Route{Service: name, Targets: allOf(id), Revisions: map[string]wadi.RouteRevision{id: minute()}}
		}
		c := newClocked(t, all, 20)
		defer c.end(t)
		var want []string
		for i := range 50 {
			name := fmt.Sprintf("s%02d", i)
			id := wadi.RevisionID(name, 1)
			want = append(want, id)
			go c.ask(t, name, id)
			time.Sleep(time.Millisecond)
		}
		for _, n := range []int{20, 40, 50} {
			if got := len(c.wakeTimes()); got != n {
				t.Errorf("%d wakes after %v, want %d", got, time.Since(c.start), n)
			}
			time.Sleep(time.Second)
		}
		c.set(func(c *cluster) {
			if diff := cmp.Diff(want, c.order); diff != "" {
				t.Error(diff)
			}
		})
	})
}

// The autoscaler learns when no wake is due any more.
func TestWaking_ClosesWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := map[string]wadi.Route{}
		for i := range 3 {
			name := fmt.Sprintf("s%02d", i)
			id := wadi.RevisionID(name, 1)
			all[name] = wadi.Route{Service: name, Targets: allOf(id), Revisions: map[string]wadi.RouteRevision{id: minute()}}
		}
		c := newClocked(t, all, 1) // One wake a second.
		defer c.end(t)
		if c.act.Waking() != nil {
			t.Error("wakes are under way before anybody has asked")
		}
		c.set(func(c *cluster) { c.onWake = func(string) { time.Sleep(500 * time.Millisecond) } })
		for name := range all {
			go c.ask(t, name, wadi.RevisionID(name, 1))
		}
		time.Sleep(100 * time.Millisecond)
		over := c.act.Waking()
		if over == nil {
			t.Fatal("no wake is under way though three were asked for")
		}
		<-over
		if took := time.Since(c.start); len(c.wakeTimes()) != 3 || took != 2500*time.Millisecond {
			t.Errorf("over after %v and %d wakes, want 2.5s and 3", took, len(c.wakeTimes()))
		}
		if c.act.Waking() != nil {
			t.Error("wakes are still under way")
		}
	})
}

// However many come while a wake is under way, and then believed to bring
// something, it is one.
func TestWake_OneForAThousand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
		defer c.end(t)
		c.set(func(c *cluster) { c.onWake = func(string) { time.Sleep(2 * time.Second) } })
		for range 1000 {
			go c.ask(t, service, revision)
			time.Sleep(4 * time.Millisecond)
		}
		time.Sleep(900 * time.Millisecond)
		if n := gauge(t, c.reg, "wadi_activator_waiting_requests"); n != 1000 {
			t.Errorf("%v wait, want all", n)
		}
		if got := c.wakeTimes(); len(got) != 1 || got[0] != 0 {
			t.Errorf("woken at %v, want once, at once", got)
		}
	})
}

func TestWake_BacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
		defer c.end(t)
		c.set(func(c *cluster) { c.wakeErr = wadi.ErrUnavailable })
		go c.ask(t, service, revision)
		time.Sleep(6 * time.Second)
		var want []time.Duration
		for _, ms := range []int{0, 50, 150, 350, 750, 1550, 3150, 5150} {
			want = append(want, time.Duration(ms)*time.Millisecond)
		}
		if diff := cmp.Diff(want, c.wakeTimes()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWake_RepeatedWhileNothingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
		defer c.end(t)
		status, _, took := c.ask(t, service, revision)
		if status != 504 || took != time.Minute {
			t.Errorf("got %d after %v, want 504 after a minute", status, took)
		}
		if n := len(c.wakeTimes()); n != 12 {
			t.Errorf("%d wakes, want one every five seconds", n)
		}
		before := c.asked()
		time.Sleep(24 * time.Hour)
		if c.asked() != before || len(c.wakeTimes()) != 12 {
			t.Error("something went on without a request")
		}
	})
}

func TestWake_AgainWhenTheInstanceIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
		defer c.end(t)
		go c.ask(t, service, revision)
		synctest.Wait()
		c.place(wadi.Endpoint{Revision: revision, Instance: "a", Addr: "127.0.0.1:1"})
		time.Sleep(30 * time.Second)
		if got := c.wakeTimes(); len(got) != 1 {
			t.Fatalf("woken at %v, though an instance is placed", got)
		}
		c.place(wadi.Endpoint{Revision: revision, Instance: "a", Addr: "127.0.0.1:1", Ended: true})
		synctest.Wait()
		if got := c.wakeTimes(); len(got) != 2 || got[1] != 30*time.Second {
			t.Errorf("woken at %v, want at once after the loss", got)
		}
	})
}

func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
		defer c.end(t)
		c.set(func(c *cluster) { c.diagnosis, c.since = "memory exhausted on 3 nodes", time.Now().Add(-time.Hour) })
		status, body, took := c.ask(t, service, revision)
		if status != 503 || !strings.Contains(body, wadi.ReasonID(revision, "memory exhausted on 3 nodes")) || took < 15*time.Second || took > 16*time.Second {
			t.Errorf("got %d %q after %v, want 503 after 15 s", status, body, took)
		}
		if _, _, took := c.ask(t, service, revision); took > time.Second {
			t.Errorf("the next one waited %v, though the diagnosis goes on", took)
		}
		time.Sleep(time.Hour)
		c.set(func(c *cluster) { c.diagnosis = "" })
		if status, _, took = c.ask(t, service, revision); status != 504 || took != time.Minute {
			t.Errorf("got %d after %v, want 504 after a minute: the diagnosis is over", status, took)
		}
	})
}

func TestProbing_EndsWithoutRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := minute()
		set.Queue.Timeout = wadi.Duration(time.Second)
		c := newClocked(t, routes(set, wadi.HTTP1), 20)
		defer c.end(t)
		c.place(wadi.Endpoint{Revision: revision, Instance: "a", Addr: "127.0.0.1:1"})
		time.Sleep(time.Hour)
		if n := c.dialled(); n != 0 {
			t.Fatalf("%d dials before the first request", n)
		}
		c.ask(t, service, revision)
		if n := c.dialled(); n < 150 {
			t.Errorf("%d dials in a second, want one every 5 ms", n)
		}
		time.Sleep(time.Minute)
		before := c.dialled()
		time.Sleep(time.Hour)
		if n := c.dialled(); n != before {
			t.Errorf("%d dials without a request", n-before)
		}
		go c.ask(t, service, revision)
		time.Sleep(500 * time.Millisecond)
		if n := c.dialled(); n < before+50 {
			t.Errorf("%d dials for the next request", n-before)
		}
	})
}

func TestDeadlines_EachItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
		defer c.end(t)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if status, _, took := c.ask(t, service, revision); status != 504 || took != time.Minute {
					t.Errorf("got %d after %v", status, took)
				}
			})
			time.Sleep(3 * time.Second)
		}
		short := minute()
		short.Queue.Timeout = wadi.Duration(time.Second) // Its deadline is before those of earlier requests.
		c.act.SetRoutes(routes(short, wadi.HTTP1))
		if status, _, took := c.ask(t, service, revision); status != 504 || took != time.Second {
			t.Errorf("got %d after %v, want 504 after a second", status, took)
		}
		wg.Wait()
	})
}
