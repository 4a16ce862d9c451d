package activator_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

func TestInstanceDies_RetriedOnAnother(t *testing.T) {
	g := newRig(t, settings())
	one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
	g.place(one.ep)
	if got := g.get(t); got.body != "alloc-1" {
		t.Fatalf("got %v", got)
	}
	g.place(one.ep, two.ep)
	until(t, "the second is probed", func() bool { _, probes, _ := two.counts(); return probes > 0 })
	one.stop()
	for range 20 {
		if got := g.get(t); got.status != 200 || got.body != "alloc-2" && got.body != "alloc-1" {
			t.Fatalf("got %v", got)
		}
	}
	if n := g.woken(revision); n != 0 {
		t.Errorf("%d wakes, want none", n)
	}
}

func TestInstanceDies_WaitsForTheNext(t *testing.T) {
	g := newRig(t, settings())
	one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
	one.app = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }
	g.place(one.ep)
	g.get(t)
	one.stop()
	done := make(chan answer)
	go func() { done <- g.do(g.request(t, http.MethodPost, "/", strings.NewReader("body"))) }()
	g.waiting(t, 1) // The dial was refused: even a POST may go again.
	g.place(two.ep)
	if got := <-done; got.body != "alloc-2" {
		t.Fatalf("got %v", got)
	}
}

func TestInstanceFailsInMidRequest(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	b.set(func(b *backend) { b.app = abort })
	got := g.do(g.request(t, http.MethodPost, "/", strings.NewReader("x")))
	wantRefusal(t, got, 502, "instance_failed", "")
	if n, _, _ := b.counts(); n != 1 {
		t.Errorf("a POST was sent %d times, want once", n)
	}
	wantRefusal(t, g.get(t), 502, "instance_failed", "")
	if n, _, _ := b.counts(); n > 4 { // Each attempt may be repeated once by net/http on a kept connection.
		t.Errorf("a GET was sent %d times, want twice", n-1)
	}
	b.set(func(b *backend) { b.app = nil })
	if got := g.get(t); got.status != 200 {
		t.Errorf("got %v, want it probed back in", got)
	}
}

func TestOtherInstanceAnswers(t *testing.T) {
	set := settings()
	set.Queue.Timeout = wadi.Duration(300 * time.Millisecond)
	g := newRig(t, set)
	b := newBackend(t, "alloc-other")
	ep := b.ep
	ep.Instance = "alloc-1"
	g.place(ep)
	wantRefusal(t, g.get(t), 504, "queue_timeout", "")
	if requests, probes, _ := b.counts(); requests != 0 || probes > 3 {
		t.Errorf("%d requests and %d probes, want none and few", requests, probes)
	}
}

func TestSomethingElseAnswers(t *testing.T) {
	set := settings()
	set.Queue.Timeout = wadi.Duration(300 * time.Millisecond)
	g := newRig(t, set)
	var mu sync.Mutex
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get(wadi.HeaderProbe) == "" {
			asked++
		}
	}))
	defer other.Close()
	g.place(wadi.Endpoint{Revision: revision, Instance: "alloc-1", Addr: other.Listener.Addr().String()})
	wantRefusal(t, g.get(t), 504, "queue_timeout", "")
	mu.Lock()
	defer mu.Unlock()
	if asked != 0 {
		t.Errorf("it got %d requests that were not for it", asked)
	}
}

func TestUnreadBodyGoesToTheSecondInstance(t *testing.T) {
	g := newRig(t, settings())
	one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
	two.app = func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }
	g.place(one.ep)
	g.get(t)
	one.set(func(b *backend) { b.name = "alloc-x" })
	in, out := io.Pipe()
	done := make(chan answer)
	go func() { done <- g.do(g.request(t, http.MethodPost, "/", in)) }()
	g.waiting(t, 1)
	g.place(one.ep, two.ep)
	until(t, "the second has it", func() bool { n, _, _ := two.counts(); return n == 1 })
	_, _ = io.WriteString(out, "the whole ")
	_, _ = io.WriteString(out, "body")
	_ = out.Close()
	if got := <-done; got.status != 200 || got.body != "the whole body" {
		t.Errorf("got %v", got)
	}
}

func TestAddressChangesHands(t *testing.T) {
	g := newRig(t, settings())
	one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
	g.place(one.ep)
	g.get(t)
	one.set(func(b *backend) { b.name = "alloc-x" }) // Another instance has its port now; connections stay open.
	g.place(one.ep, two.ep)
	until(t, "the second is probed", func() bool { _, probes, _ := two.counts(); return probes > 0 })
	for range 10 {
		if got := g.get(t); got.status != 200 || got.body != "alloc-2" {
			t.Fatalf("got %v", got)
		}
	}
}

func held() (app http.HandlerFunc, release func()) {
	c := make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-c:
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	}, sync.OnceFunc(func() { close(c) })
}

func TestLeastBusy(t *testing.T) {
	g := newRig(t, settings())
	app, release := held()
	defer release()
	all := []*backend{newBackend(t, "a"), newBackend(t, "b")} // Of two, two random choices are all.
	g.place(all[0].ep, all[1].ep)
	until(t, "all are in rotation", func() bool {
		g.get(t)
		for _, b := range all {
			if requests, _, _ := b.counts(); requests == 0 {
				return false
			}
		}
		return true
	})
	for _, b := range all {
		b.set(func(b *backend) { b.app = app })
	}
	done := make(chan []answer)
	go func() { done <- g.many(t, 6) }()
	until(t, "six in flight", func() bool { return g.gauge(t, "wadi_activator_in_flight_requests") == 6 })
	until(t, "three at each", func() bool {
		for _, b := range all {
			if _, _, top := b.counts(); top != 3 {
				return false
			}
		}
		return true
	})
	release()
	<-done
}

func TestConcurrencyLimit(t *testing.T) {
	set := settings()
	set.ConcurrencyLimit = 2
	g := newRig(t, set)
	app, release := held()
	defer release()
	b := newBackend(t, "alloc-1")
	b.app = app
	g.place(b.ep)
	done := make(chan []answer)
	go func() { done <- g.many(t, 10) }()
	g.waiting(t, 8)
	until(t, "two in flight", func() bool { n, _, _ := b.counts(); return n == 2 })
	release()
	for _, got := range <-done {
		if got.status != 200 {
			t.Errorf("got %v", got)
		}
	}
	if _, _, top := b.counts(); top != 2 {
		t.Errorf("%d at once, want 2", top)
	}
}

func TestStoppingInstance(t *testing.T) {
	g := newRig(t, settings())
	app, release := held()
	defer release()
	one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
	one.app = app
	g.place(one.ep)
	old := make(chan answer)
	go func() { old <- g.get(t) }()
	until(t, "it is in flight", func() bool { n, _, _ := one.counts(); return n == 1 })

	stopping := one.ep
	stopping.Stopping = true
	g.settle(t, stopping)
	next := make(chan answer)
	go func() { next <- g.get(t) }()
	g.waiting(t, 1)
	until(t, "a wake", func() bool { return g.woken(revision) == 1 })
	g.place(stopping, two.ep)
	if got := <-next; got.body != "alloc-2" {
		t.Errorf("got %v", got)
	}
	g.place(two.ep) // To Nomad the other one has ended.
	release()
	if got := <-old; got.body != "done" {
		t.Errorf("the request in flight got %v", got)
	}
}
