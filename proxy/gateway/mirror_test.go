package gateway_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// twoRevisions stands for the activator: hello-00001 serves the originals, hello-00002 gets the
// copies.
type twoRevisions struct {
	original, copied http.HandlerFunc

	mu        sync.Mutex
	originals int
	copies    []*http.Request
	bodies    []string // Of the copies.
	now, top  int      // Copies under way, and at most.
}

func (a *twoRevisions) ServeRevision(w http.ResponseWriter, r *http.Request, _, revision string) {
	if revision == "hello-00001" {
		a.mu.Lock()
		a.originals++
		a.mu.Unlock()
		a.original(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.copies, a.bodies = append(a.copies, r), append(a.bodies, string(body))
	a.now++
	a.top = max(a.top, a.now)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.now--
		a.mu.Unlock()
	}()
	a.copied(w, r)
}

// readAll is an app that reads the whole request and answers.
func readAll(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "done")
}

// hang is an app that never answers.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// mirrored is a gateway that copies requests of hello-00001 to hello-00002.
type mirrored struct {
	*gateway.Gateway
	*twoRevisions
	reg *prometheus.Registry
	t   *testing.T
}

func newMirrored(t *testing.T, m wadi.Mirror) *mirrored {
	t.Helper()
	g := &mirrored{twoRevisions: &twoRevisions{original: readAll, copied: readAll}, reg: prometheus.NewRegistry(), t: t}
	var err error
	g.Gateway, err = gateway.New(gateway.Config{Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: g.twoRevisions, Registerer: g.reg})
	if err != nil {
		t.Fatal(err)
	}
	g.SetRoutes(map[string]wadi.Route{"hello": mirrorRoute(m)})
	return g
}

func mirrorRoute(m wadi.Mirror) wadi.Route {
	r := route("hello",
		wadi.RouteTarget{Revision: "hello-00001", Weight: wadi.WeightAll},
		wadi.RouteTarget{Revision: "hello-00002", Tag: "canary"})
	r.Mirror = &m
	return r
}

func all(methods ...string) wadi.Mirror {
	return wadi.Mirror{Tag: "canary", Percent: 100, Methods: methods}
}

// send sends a request, whose original must be answered.
func (g *mirrored) send(method string, body io.Reader, fields ...string) {
	g.t.Helper()
	r := httptest.NewRequest(method, "http://hello.wadi.localhost/path?q=1", body)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	if g.ServeHTTP(w, r); w.Code != 200 || w.Body.String() != "done" {
		g.t.Fatalf("the original got %d %q", w.Code, w.Body)
	}
}

// results are the copies' counts, by result.
func (g *mirrored) results() map[string]int {
	g.t.Helper()
	families, err := g.reg.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	out := map[string]int{}
	for _, f := range families {
		if f.GetName() == "wadi_gateway_mirrored_requests_total" {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = int(m.GetCounter().GetValue())
			}
		}
	}
	return out
}

func (g *mirrored) want(what string, want map[string]int) {
	g.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, g.results()); diff != "" {
		g.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestMirror_Copies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMirrored(t, all("GET", "POST"))
		original := make(http.Header)
		g.original = func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(original, r.Header)
			readAll(w, r)
		}
		g.send("GET", nil, "Cookie", "a=b", "Authorization", "Bearer x", "Traceparent", "00-1", "Wadi-Mirror", "forged")
		synctest.Wait()
		g.send("POST", strings.NewReader("body"))
		synctest.Wait()
		g.send("POST", io.MultiReader(strings.NewReader("in "), strings.NewReader("chunks"))) // Of unknown length.
		synctest.Wait()
		g.send("POST", strings.NewReader(strings.Repeat("x", 64<<10)))
		g.want("all are copied", map[string]int{"answered": 4})
		if original["Wadi-Mirror"] != nil || original["Traceparent"] == nil {
			t.Errorf("the original has the header %v", original)
		}
		h := g.copies[0].Header
		if h.Get("Wadi-Mirror") != "1" || h.Get("Cookie") != "a=b" || h.Get("Authorization") != "Bearer x" || h["Traceparent"] != nil || h.Get("X-Forwarded-For") == "" {
			t.Errorf("the copy has the header %v", h)
		}
		if r := g.copies[0]; r.Host != "hello.wadi.localhost" || r.RequestURI != "http://hello.wadi.localhost/path?q=1" || r.Method != "GET" {
			t.Errorf("the copy is %s %s of %s", r.Method, r.RequestURI, r.Host)
		}
		if diff := cmp.Diff([]string{"", "body", "in chunks", strings.Repeat("x", 64<<10)}, g.bodies); diff != "" {
			t.Error(diff)
		}
		if g.copies[2].ContentLength != 9 {
			t.Errorf("the length of the third is %d", g.copies[2].ContentLength)
		}
	})
}

func TestMirror_NotCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMirrored(t, wadi.Mirror{Tag: "canary", Percent: 100})
		g.send("POST", strings.NewReader("body"))
		g.send("DELETE", nil)
		g.send("GET", nil, "Connection", "Upgrade", "Upgrade", "websocket")
		g.send("GET", nil, wadi.HeaderTag, "canary") // It goes there itself, and is in copies once.
		if len(g.copies) != 1 || g.copies[0].Header["Wadi-Mirror"] != nil {
			t.Errorf("%d copies", len(g.copies))
		}
		for name, m := range map[string]wadi.Mirror{"none": {Tag: "canary"}, "a tag that is gone": {Tag: "old", Percent: 100}, "no tag": {Percent: 100}} {
			g.SetRoutes(map[string]wadi.Route{"hello": mirrorRoute(m)})
			g.send("GET", nil)
			g.want(name, map[string]int{})
		}
	})
}

// A share of the requests is copied.
func TestMirror_Percent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMirrored(t, wadi.Mirror{Tag: "canary", Percent: 12.5})
		const n = 4000
		for range n {
			g.send("GET", nil)
			time.Sleep(time.Second) // The rate is no bound.
		}
		// Five standard deviations around 500 are 105.
		if got := g.results()["answered"]; got < 395 || got > 605 {
			t.Errorf("%d of %d are copied, want 500", got, n)
		}
	})
}

// A target that hangs costs the originals nothing, and a bounded number of copies. When it is
// back, copies go there again.
func TestMirror_HangingTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMirrored(t, all("GET", "POST"))
		g.copied = hang
		began := time.Now()
		for range 1000 {
			g.send("GET", nil)
			g.send("POST", strings.NewReader("body"))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the originals waited %v", took)
		}
		g.want("at once", map[string]int{"rate": 2000 - 51})
		for range 1000 {
			g.send("GET", nil)
			time.Sleep(5 * time.Millisecond)
		}
		synctest.Wait()
		if g.top != 64 || g.originals != 3000 {
			t.Errorf("%d copies under way at most, want 64; %d originals", g.top, g.originals)
		}
		time.Sleep(10 * time.Second)
		got := g.results()
		if got["timeout"] != 64 || got["busy"] == 0 || got["timeout"]+got["busy"]+got["rate"] != 3000 {
			t.Errorf("got %v", got)
		}
		g.copied = readAll
		g.send("GET", nil)
		synctest.Wait()
		if g.results()["answered"] != 1 || g.now != 0 {
			t.Errorf("after that: %v, %d under way", g.results(), g.now)
		}
	})
}

// failing is a body that breaks off.
type failing struct{ io.Reader }

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// A body that is too long, or does not come to its end, is not copied, and its original is
// served as ever.
func TestMirror_Bodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMirrored(t, all("POST"))
		g.send("POST", strings.NewReader(strings.Repeat("x", 64<<10+1)))
		g.want("too long", map[string]int{"body": 1})
		g.send("POST", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)))) // Of unknown length.
		g.want("turns out too long", map[string]int{"body": 2})
		g.send("POST", failing{strings.NewReader("begin")})
		g.want("broken off", map[string]int{"body": 3})
		g.original = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") }
		g.send("POST", strings.NewReader("not read"))
		g.want("not read", map[string]int{"body": 4})
		if len(g.copies) != 0 {
			t.Errorf("%d copies", len(g.copies))
		}
	})
}

// A body that is read when its request is over, as a server may, is not copied any more.
func TestMirror_ReadTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMirrored(t, all("POST"))
		var body io.Reader
		g.original = func(w http.ResponseWriter, r *http.Request) {
			body = r.Body
			_, _ = io.WriteString(w, "done")
		}
		g.send("POST", strings.NewReader("late"))
		if b, err := io.ReadAll(body); string(b) != "late" || err != nil {
			t.Errorf("read %q %v", b, err)
		}
		g.want("late", map[string]int{"body": 1})
	})
}

// However many requests are under way with large headers and unfinished bodies, what is held
// of them is bounded, and is free again when they are over.
func TestMirror_Memory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMirrored(t, all("POST"))
		release := make(chan struct{})
		g.original = func(w http.ResponseWriter, r *http.Request) {
			_, _ = r.Body.Read(make([]byte, 32<<10))
			<-release
			readAll(w, r)
		}
		var wg sync.WaitGroup
		for range 400 {
			wg.Go(func() {
				r := httptest.NewRequest("POST", "http://hello.wadi.localhost/", strings.NewReader(strings.Repeat("x", 60<<10)))
				r.Header.Set("X-Large", strings.Repeat("y", 32<<10))
				g.ServeHTTP(httptest.NewRecorder(), r)
			})
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		dropped := g.results()["memory"]
		if held := (400 - dropped) * 64 << 10; dropped == 0 || held > 16<<20 || held < 14<<20 {
			t.Errorf("%d of 400 are not copied: %d bytes are held", dropped, held)
		}
		close(release)
		wg.Wait()
		synctest.Wait()
		before := g.results()["answered"]
		time.Sleep(time.Second)
		g.send("POST", strings.NewReader("body"))
		synctest.Wait()
		if after := g.results()["answered"]; after != before+1 {
			t.Errorf("nothing is copied any more: %v", g.results())
		}
	})
}

// How a copy ends is counted, and concerns nobody else.
func TestMirror_Results(t *testing.T) {
	for name, tt := range map[string]struct {
		app  http.HandlerFunc
		want string
	}{
		"an error of the app": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "answered"},
		"a refusal": {func(w http.ResponseWriter, r *http.Request) {
			activator.Refuse(w, r, activator.Refusal{Status: 404, Code: activator.CodeNoRevision, Message: "gone"})
		}, "failed"},
		"broken off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "failed"},
		"a mistake":  {func(http.ResponseWriter, *http.Request) { panic("a mistake in Wadi") }, "failed"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					panic(http.ErrAbortHandler)
				}
			}
		}, "cut"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newMirrored(t, all())
				g.copied = tt.app
				g.send("GET", nil)
				time.Sleep(time.Minute)
				g.want(name, map[string]int{tt.want: 1})
			})
		})
	}
}

// A copy is no part of its original's connection: it goes on when the caller leaves, and ends
// with the agent.
func TestMirror_EndsWithTheAgentOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMirrored(t, all())
		var left error
		g.copied = func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			left = r.Context().Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequest("GET", "http://hello.wadi.localhost/", nil).WithContext(ctx)
		g.ServeHTTP(httptest.NewRecorder(), r)
		cancel()
		time.Sleep(time.Second)
		if synctest.Wait(); g.now != 1 {
			t.Error("the copy has ended with its original")
		}
		g.EndCopies()
		g.want("the agent stops", map[string]int{"stopped": 1})
		if !errors.Is(left, context.Canceled) {
			t.Errorf("got %v", left)
		}
		g.send("GET", nil)
		g.want("after that", map[string]int{"stopped": 2})
	})
}

// The target may go, and come back, at any moment.
func TestMirror_RoutesChangeUnderLoad(t *testing.T) {
	g := newMirrored(t, all("GET", "POST"))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			r := mirrorRoute(all("GET", "POST"))
			if i%2 == 0 {
				r.Targets = r.Targets[:1]
			}
			g.SetRoutes(map[string]wadi.Route{"hello": r})
		}
	})
	for range 4 {
		wg.Go(func() {
			for range 200 {
				r := httptest.NewRequest("POST", "http://hello.wadi.localhost/", strings.NewReader("body"))
				w := httptest.NewRecorder()
				if g.ServeHTTP(w, r); w.Code != 200 {
					t.Errorf("status %d", w.Code)
				}
			}
		})
	}
	time.AfterFunc(50*time.Millisecond, func() { close(done) })
	wg.Wait()
}

func TestServes_Mirror(t *testing.T) {
	g := newMirrored(t, all("GET"))
	for name, tt := range map[string]struct {
		m    wadi.Mirror
		want bool
	}{
		"the same": {all("GET"), true}, "other methods": {all("POST"), false}, "a smaller share": {wadi.Mirror{Tag: "canary", Percent: 99.99, Methods: []string{"GET"}}, false},
		"none": {wadi.Mirror{}, false},
	} {
		if got, why := g.Serves(mirrorRoute(tt.m)); got != tt.want {
			t.Errorf("%s: got %v %q", name, got, why)
		}
	}
}

// quickly serves a request that a benchmark sends again and again.
func quickly(tb testing.TB, mirror *wadi.Mirror) func() {
	a := &twoRevisions{original: func(http.ResponseWriter, *http.Request) {}, copied: func(http.ResponseWriter, *http.Request) {}}
	g, err := gateway.New(gateway.Config{Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: a, Registerer: prometheus.NewRegistry()})
	if err != nil {
		tb.Fatal(err)
	}
	r := mirrorRoute(wadi.Mirror{})
	r.Mirror = mirror
	g.SetRoutes(map[string]wadi.Route{"hello": r})
	in := httptest.NewRequest(http.MethodGet, "http://hello.wadi.localhost/", nil)
	w := httptest.NewRecorder()
	return func() {
		in.Header.Del("X-Forwarded-For")
		g.ServeHTTP(w, in)
	}
}

// Without a mirror, and for a request that is not copied, nothing is allocated for it.
func TestMirror_Allocations(t *testing.T) {
	plain := testing.AllocsPerRun(200, quickly(t, nil))
	for name, m := range map[string]wadi.Mirror{"of another method": {Tag: "canary", Percent: 100, Methods: []string{"POST"}}, "no share": {Tag: "canary"}} {
		if got := testing.AllocsPerRun(200, quickly(t, &m)); got != plain {
			t.Errorf("%s: %v allocations, without a mirror %v", name, got, plain)
		}
	}
}

func BenchmarkGateway_Mirror(b *testing.B) {
	for name, m := range map[string]*wadi.Mirror{"none": nil, "not-copied": {Tag: "canary", Percent: 100, Methods: []string{"POST"}}, "5-percent": {Tag: "canary", Percent: 5}, "100-percent": {Tag: "canary", Percent: 100}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for serve := quickly(b, m); b.Loop(); {
				serve()
			}
		})
	}
}
