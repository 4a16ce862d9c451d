package activator_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
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
func TestThousandWaitersOneWake(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	all := make(chan struct{})
	g.set(func(c *cluster) { c.onWake = func(string) { <-all; c.place(b.ep) } })
	done := make(chan []answer)
	go func() { done <- g.many(t, 1000) }()
	g.waiting(t, 1000)
	close(all)
	for _, got := range <-done {
		if got.status != 200 || got.body != "alloc-1" {
			t.Fatalf("got %v", got)
		}
	}
	if n := g.woken(revision); n != 1 {
		t.Errorf("%d wakes, want 1", n)
	}
	if requests, _, _ := b.counts(); requests != 1000 {
		t.Errorf("%d requests arrived, want 1000", requests)
	}
	g.waiting(t, 0)
}

func TestRefusal_JSON(t *testing.T) {
	set := settings()
	set.Failed = `no "image"`
	g := newRig(t, set)
	for accept, want := range map[string]bool{"application/json": true, "text/html, application/json;q=0.9": false, "*/*": false, "": false, "text/plain;q=0.1, application/json": true, "application/json;q=0": false} {
		r := g.request(t, http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		got := g.do(r)
		var v struct{ Error string }
		err := json.Unmarshal([]byte(got.body), &v)
		if (err == nil) != want || want && !strings.Contains(v.Error, wadi.ReasonID(revision, set.Failed)) {
			t.Errorf("Accept %q: got %v", accept, got)
		}
	}
}

func TestQueueFull(t *testing.T) {
	set := settings()
	set.Queue.Depth = 3
	g := newRig(t, set)
	b := newBackend(t, "alloc-1")
	done := make(chan []answer)
	go func() { done <- g.many(t, 3) }()
	g.waiting(t, 3)
	wantRefusal(t, g.get(t), 503, "queue_full", "wait for hello-00001")
	g.place(b.ep)
	for _, got := range <-done {
		if got.status != 200 {
			t.Errorf("got %v", got)
		}
	}
}

func TestAgentIsFull(t *testing.T) {
	for name, edit := range map[string]func(*activator.Config){
		"count": func(c *activator.Config) { c.MaxWaiting = 1 },
		"bytes": func(c *activator.Config) { c.MaxWaitingBytes = 30 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings(), edit)
			go g.get(t)
			g.waiting(t, 1)
			wantRefusal(t, g.get(t), 503, "queue_full", "in this agent")
		})
	}
}

func TestClientGone_LeavesTheQueue(t *testing.T) {
	set := settings()
	set.Queue.Depth = 1
	g := newRig(t, set)
	for name, head := range map[string]string{
		"without body":     "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"with unread body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"with half a body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", g.srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, head); err != nil {
				t.Fatal(err)
			}
			g.waiting(t, 1)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			g.waiting(t, 0)
		})
	}
}

func TestSlowBodyDoesNotHoldUpTheRefusal(t *testing.T) {
	set := settings()
	set.Queue.Timeout = wadi.Duration(50 * time.Millisecond)
	g := newRig(t, set)
	c, err := net.Dial("tcp", g.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nhe"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 504 {
		t.Fatalf("got %v, %v", res, err)
	}
}

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

// TestUnreadBodyGoesToTheSecondInstance has the first attempt still waiting for
// the body's first byte when the second begins.
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

// held is an app that answers once it is released.
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

func TestStripsInternalHeaders(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	r := g.request(t, http.MethodGet, "/", nil)
	for _, h := range wadi.InternalHeaders() {
		r.Header.Set(h, "forged")
	}
	r.Header.Set(wadi.HeaderTag, "canary")
	if got := g.do(r); got.body != "alloc-1" {
		t.Fatalf("got %v", got)
	}
	h := b.last().Header
	for _, name := range wadi.InternalHeaders() {
		if strings.Contains(strings.Join(h.Values(name), ","), "forged") {
			t.Errorf("%s reached the instance", name)
		}
	}
	if h.Get(wadi.HeaderTag) != "canary" {
		t.Error("the caller's tag is gone")
	}
}

// While a service is being deleted its mesh callers get 404, even if their Envoys still
// route to it. Before and after that they get 503 with Retry-After.
func TestMeshHandler_Deleted(t *testing.T) {
	g := newRig(t, settings())
	g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
	ask := func(headers ...string) answer {
		t.Helper()
		r := g.request(t, http.MethodGet, "/", nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return g.do(r)
	}
	deleted := routes(settings(), wadi.HTTP1)
	route := deleted[service]
	route.Targets = nil
	deleted[service] = route
	g.act.SetRoutes(deleted)
	wantRefusal(t, ask(wadi.HeaderService, service), 404, "unknown_revision", "service hello is deleted")
	wantRefusal(t, ask(wadi.HeaderService, service, wadi.HeaderRevision, revision), 404, "unknown_revision", "service hello is deleted")
	g.act.SetRoutes(nil)
	wantRefusal(t, ask(wadi.HeaderService, service, wadi.HeaderRevision, revision), 503, "unknown_revision", "it is gone, or this agent does not know it yet")
}

func TestMeshHandler(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
	for _, tt := range []struct {
		service, revision string
		status            int
	}{
		{service, revision, 200}, {"", "", 503}, {service, "", 503}, {"other", revision, 503}, {service, "hello-00009", 503},
	} {
		r := g.request(t, http.MethodGet, "/", nil)
		r.Header.Set(wadi.HeaderService, tt.service)
		r.Header.Set(wadi.HeaderRevision, tt.revision)
		got := g.do(r)
		if got.status != tt.status {
			t.Errorf("%q %q: got %v, want %d", tt.service, tt.revision, got, tt.status)
		}
		if after := got.header.Get("Retry-After"); got.status != 200 && (after != "1" || got.header.Get("Wadi-Error") != "unknown_revision") {
			t.Errorf("%q %q: come again after %q: %v", tt.service, tt.revision, after, got.header)
		}
	}
}

func TestH2C(t *testing.T) {
	g := newRig(t, settings())
	g.act.SetRoutes(routes(settings(), wadi.H2C))
	b := newBackend(t, "alloc-1")
	g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	for range 2 {
		res, err := (&http.Client{Transport: tr}).Do(g.request(t, http.MethodPost, "/", strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.ProtoMajor != 2 || string(got) != "alloc-1" {
			t.Errorf("got %s over %s", got, res.Proto)
		}
	}
	if b.last().ProtoMajor != 2 {
		t.Errorf("the instance was asked over %s", b.last().Proto)
	}
}

func TestStreams(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.app = func(w http.ResponseWriter, r *http.Request) { // Echoes each line as it comes.
		_ = http.NewResponseController(w).EnableFullDuplex()
		lines := bufio.NewReader(r.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	}
	g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
	in, out := io.Pipe()
	r := g.request(t, http.MethodPost, "/", in)
	go func() { _, _ = io.WriteString(out, "one\n") }()
	res, err := g.srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		if got, err := lines.ReadString('\n'); got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		if want != "three\n" {
			next := map[string]string{"one\n": "two\n", "two\n": "three\n"}[want]
			if _, err := io.WriteString(out, next); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = out.Close()
}

func TestSlowAppAndEndlessBody(t *testing.T) {
	set := settings()
	set.Timeout.Request = wadi.Duration(200 * time.Millisecond)
	g := newRig(t, set)
	app, release := held()
	defer release()
	b := newBackend(t, "alloc-1")
	b.app = app
	g.place(b.ep)
	wantRefusal(t, g.get(t), 504, "request_timeout", "longer than 200ms")

	b.set(func(b *backend) {
		b.app = func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	})
	in, out := io.Pipe()
	defer out.Close()
	go func() {
		for {
			if _, err := out.Write(make([]byte, 1024)); err != nil {
				return
			}
		}
	}()
	if got := g.do(g.request(t, http.MethodPost, "/", in)); got.status != 504 && got.err == nil {
		t.Errorf("an endless body got %v", got)
	}
	until(t, "nothing in flight", func() bool { return g.gauge(t, "wadi_activator_in_flight_requests") == 0 })
}

func TestAnswerBreaksOff(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.app = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	g.place(b.ep)
	if got := g.get(t); got.err == nil {
		t.Errorf("got %v, want a broken answer", got)
	}
	until(t, "nothing in flight", func() bool { return g.gauge(t, "wadi_activator_in_flight_requests") == 0 })
}

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
