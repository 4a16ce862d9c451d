package activator_test

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

func TestColdRequest(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.set(func(b *backend) { b.unready = true })
	g.set(func(c *cluster) {
		c.onWake = func(string) {
			c.place(b.ep)
			until(t, "a probe", func() bool { _, probes, _ := b.counts(); return probes > 2 })
			b.set(func(b *backend) { b.unready = false })
		}
	})
	got := g.get(t)
	if got.status != 200 || got.body != "alloc-1" {
		t.Fatalf("got %v", got)
	}
	form := regexp.MustCompile(`^queue;dur=[\d.]+, place;dur=[\d.]+, start;dur=[\d.]+, probe;dur=[\d.]+, forward;dur=[\d.]+$`)
	if timing := got.header.Get("Server-Timing"); !form.MatchString(timing) {
		t.Errorf("Server-Timing is %q, want %s", timing, form)
	}
	want := map[string]string{wadi.HeaderService: service, wadi.HeaderRevision: revision, wadi.HeaderInstance: "alloc-1", wadi.HeaderProxied: "1"}
	h := b.last().Header
	for k, v := range want {
		if h.Get(k) != v {
			t.Errorf("%s: got %q, want %q", k, h.Get(k), v)
		}
	}
	if n := g.woken(revision); n != 1 {
		t.Errorf("%d wakes, want 1", n)
	}
	if got := g.get(t); got.header.Get("Server-Timing") != "" {
		t.Errorf("a warm request has Server-Timing %q", got.header.Get("Server-Timing"))
	}
	if n := g.gauge(t, "wadi_activator_cold_start_seconds"); n != 5 {
		t.Errorf("%v phases of cold starts observed, want the five of one", n)
	}
}

// The wake is under way until all wait: it takes as long as they do. What comes

// after a wake is for the tests in fake time.

func TestUnknownRevision(t *testing.T) {
	g := newRig(t, settings())
	g.act.SetRoutes(nil)
	wantRefusal(t, g.get(t), 404, "unknown_revision", `no revision "hello-00001" of service "hello"`)
}

func TestRetiredWhileWaiting(t *testing.T) {
	moved := routes(settings(), wadi.HTTP1)
	route := moved[service]
	route.Targets, route.Revisions = allOf("hello-00002"), map[string]wadi.RouteRevision{"hello-00002": settings()}
	moved[service] = route
	deleted := routes(settings(), wadi.HTTP1)
	route = deleted[service]
	route.Targets = nil
	deleted[service] = route
	for name, tt := range map[string]struct {
		routes map[string]wadi.Route
		status int
		why    string
	}{
		"another has its place": {moved, 503, "not served any more"},
		"being deleted":         {deleted, 404, "service hello is deleted"},
		"gone":                  {nil, 404, "service hello is deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings())
			done := make(chan answer)
			go func() { done <- g.get(t) }()
			g.waiting(t, 1)
			g.act.SetRoutes(tt.routes)
			wantRefusal(t, <-done, tt.status, "unknown_revision", tt.why)
		})
	}
}

func TestFailedWhileWaiting(t *testing.T) {
	g := newRig(t, settings())
	done := make(chan answer)
	go func() { done <- g.get(t) }()
	g.waiting(t, 1)
	failed := settings()
	failed.Failed = "the image is missing"
	g.act.SetRoutes(routes(failed, wadi.HTTP1))
	id := wadi.ReasonID(revision, failed.Failed)
	wantRefusal(t, <-done, 503, "revision_failed", "hello-00001 has failed; wadi events says why, under "+id)
	wantRefusal(t, g.get(t), 503, "revision_failed", id)
}

// TestUnreadBodyGoesToTheSecondInstance has the first attempt still waiting for

// the body's first byte when the second begins.

// held is an app that answers once it is released.

// While a service is being deleted its mesh callers get 404, even if their Envoys still

// route to it. Before and after that they get 503 with Retry-After.

func TestStatistics(t *testing.T) {
	set := settings()
	set.Queue.Quiet = []string{"/healthz"}
	g := newRig(t, set)
	if n := len(g.act.Recorders()); n != 0 {
		t.Fatalf("%d recorders without a request", n)
	}
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	g.get(t)
	if got := g.do(g.request(t, http.MethodGet, "/healthz", nil)); got.status != 200 {
		t.Fatalf("a quiet path got %v from a running instance", got)
	}
	rs := g.act.Recorders()
	if len(rs) != 1 || rs[0].Revision() != revision {
		t.Fatalf("got %v", rs)
	}
	if _, begun := rs[0].Totals(); begun != 1 {
		t.Errorf("%d begun, want 1: the quiet one doesn't count", begun)
	}
}

func TestBacklog(t *testing.T) {
	g := newRig(t, settings())
	go g.get(t)
	<-g.act.Backlog().Changed()
	if got, want := g.act.Backlog().Take(), []string{revision}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := g.act.Backlog().Take(); len(got) != 0 {
		t.Errorf("got %v, want none left", got)
	}
}

// On an agent that does not lead, nothing takes from the backlog.
func TestBacklog_ForgetsRevisionsThatAreGone(t *testing.T) {
	g := newRig(t, settings())
	done := make(chan answer)
	go func() { done <- g.get(t) }()
	<-g.act.Backlog().Changed()
	g.act.SetRoutes(routes(settings(), wadi.HTTP1))
	if n := g.act.Backlog().Len(); n != 1 {
		t.Errorf("%d revisions while it is routed, want 1", n)
	}
	g.act.SetRoutes(nil)
	<-done
	if n := g.act.Backlog().Len(); n != 0 {
		t.Errorf("%d revisions are left, want none", n)
	}
}

// A request that ends after its service was deleted does not bring back its metrics.
func TestMetrics_EndWithTheService(t *testing.T) {
	g := newRig(t, settings())
	app, release := held()
	defer release()
	b := newBackend(t, "alloc-1")
	b.app = app
	g.place(b.ep)
	late := make(chan answer)
	go func() { late <- g.get(t) }()
	until(t, "it is in flight", func() bool { n, _, _ := b.counts(); return n == 1 })
	g.act.SetRoutes(nil)
	release()
	if got := <-late; got.body != "done" {
		t.Errorf("got %v", got)
	}
	until(t, "it is counted", func() bool { return g.gauge(t, "wadi_activator_request_duration_seconds") == 1 })
	if err := g.act.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if n := g.gauge(t, "wadi_activator_requests_total"); n != 0 {
		t.Errorf("%g requests of the deleted service are in the metrics, want none", n)
	}
}

func TestDrain(t *testing.T) {
	g := newRig(t, settings())
	app, release := held()
	defer release()
	b := newBackend(t, "alloc-1")
	b.app = app
	g.place(b.ep)
	old := make(chan answer)
	go func() { old <- g.get(t) }()
	until(t, "it is in flight", func() bool { n, _, _ := b.counts(); return n == 1 })
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := g.act.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v while one is in flight", err)
	}
	wantRefusal(t, g.get(t), 503, "shutting_down", "")
	release()
	if got := <-old; got.body != "done" {
		t.Errorf("got %v", got)
	}
	if err := g.act.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRunEnds_WaitingRefused(t *testing.T) {
	g := newRig(t, settings())
	done := make(chan answer)
	go func() { done <- g.get(t) }()
	g.waiting(t, 1)
	go g.stop()
	if got := <-done; got.err == nil && got.header.Get(activator.HeaderError) != "shutting_down" {
		t.Errorf("got %v", got)
	}
}
