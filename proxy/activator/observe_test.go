package activator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// coldCluster places an instance two seconds after its wake; a second later it
// answers, and half a second after that it is ready.
func coldCluster(t *testing.T, c *clocked, b *backend) {
	t.Helper()
	listener := serveMemory(t, b)
	var listens atomic.Bool
	b.set(func(b *backend) { b.unready = true })
	c.dial = func(ctx context.Context) (net.Conn, error) {
		if !listens.Load() {
			return nil, errors.New("connection refused")
		}
		return listener.Dial(ctx)
	}
	c.set(func(cl *cluster) {
		cl.onWake = func(string) {
			time.Sleep(2 * time.Second)
			c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: b.name, Addr: "app:1"})
			time.Sleep(time.Second)
			listens.Store(true)
			time.Sleep(500 * time.Millisecond)
			b.set(func(b *backend) { b.unready = false })
		}
	})
}

// near compares durations whose last digits depend on the pause between probes.
var near = cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() <= 150*time.Millisecond })

func TestRequestRecord_Cold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(settings(), wadi.HTTP1), 20, func(c *activator.Config) { c.RequestRecords = true })
		defer c.end(t)
		b := &backend{name: "alloc-1", app: func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			time.Sleep(3 * time.Second)
			_, _ = fmt.Fprintf(w, "got %d", n)
		}}
		coldCluster(t, c, b)
		record := &activator.RequestRecord{}
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(activator.WithRequestRecord(t.Context(), record), http.MethodPost, "/", strings.NewReader("body"))
		r.Header.Set(wadi.HeaderService, service)
		r.Header.Set(wadi.HeaderRevision, revision)
		c.act.MeshHandler(allowAll{}).ServeHTTP(w, r)

		want := &activator.RequestRecord{
			Service: service, Revision: revision, Instance: "alloc-1", Caller: "web", Status: 200, Attempts: 1, BytesIn: 4, BytesOut: 5,
			Arrived: c.start, Granted: c.start.Add(3500 * time.Millisecond), FirstByte: c.start.Add(6500 * time.Millisecond),
			Cold: &activator.Phases{Place: 2 * time.Second, Start: time.Second, Probe: 500 * time.Millisecond},
		}
		if diff := cmp.Diff(want, record, near, cmpopts.EquateApproxTime(200*time.Millisecond)); diff != "" {
			t.Error(diff)
		}
		if p := record.Cold; p == nil || p.Queue+p.Place+p.Start+p.Probe+p.Turn != record.Granted.Sub(record.Arrived) {
			t.Errorf("the phases %+v are not the time from %v to %v", p, record.Arrived, record.Granted)
		}
		var q, p, s, pr, f float64
		header := w.Header().Get("Server-Timing")
		if _, err := fmt.Sscanf(header, "queue;dur=%f, place;dur=%f, start;dur=%f, probe;dur=%f, forward;dur=%f", &q, &p, &s, &pr, &f); err != nil {
			t.Fatalf("Server-Timing %q: %v", header, err)
		}
		if sum := time.Duration((q + p + s + pr + f) * float64(time.Millisecond)); (sum - record.FirstByte.Sub(record.Arrived)).Abs() > time.Millisecond {
			t.Errorf("Server-Timing %q adds up to %v, want %v", header, sum, record.FirstByte.Sub(record.Arrived))
		}
	})
}

// Those that come while an instance starts wait a part of each phase.
func TestRequestRecord_CameLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := settings()
		set.ConcurrencyLimit = 1
		c := newClocked(t, routes(set, wadi.HTTP1), 20, func(c *activator.Config) { c.RequestRecords = true })
		defer c.end(t)
		b := &backend{name: "alloc-1", app: func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Second) }}
		coldCluster(t, c, b)
		go c.ask(t, service, revision)
		time.Sleep(2500 * time.Millisecond)
		record := &activator.RequestRecord{}
		r := httptest.NewRequestWithContext(activator.WithRequestRecord(t.Context(), record), http.MethodGet, "/", nil)
		c.act.ServeRevision(httptest.NewRecorder(), r, service, revision)
		want := &activator.Phases{Start: 500 * time.Millisecond, Probe: 500 * time.Millisecond, Turn: 10 * time.Second}
		if diff := cmp.Diff(want, record.Cold, near); diff != "" {
			t.Error(diff)
		}
		if n := gauge(t, c.reg, "wadi_activator_cold_start_seconds"); n != 5 {
			t.Errorf("%v phases observed, want those of the first request alone", n)
		}
	})
}

func TestRequestRecord_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := settings()
		set.Queue.Timeout = wadi.Duration(time.Second)
		c := newClocked(t, routes(set, wadi.HTTP1), 20, func(c *activator.Config) { c.RequestRecords = true })
		defer c.end(t)
		for revision, want := range map[string]activator.RequestRecord{
			revision:      {Service: service, Revision: revision, Code: "queue_timeout", Status: 504, Arrived: c.start},
			"hello-00009": {Service: service, Revision: "hello-00009", Code: "unknown_revision", Status: 404},
		} {
			var got activator.RequestRecord
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(activator.WithRequestRecord(t.Context(), &got), http.MethodGet, "/", nil)
			c.act.ServeRevision(w, r, service, revision)
			if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(time.Second), cmpopts.IgnoreFields(activator.RequestRecord{}, "BytesOut")); diff != "" {
				t.Error(diff)
			}
			if timing := w.Header().Get("Server-Timing"); strings.HasPrefix(timing, "queue;dur=0.0, place;dur=1000.0,") != (want.Status == 504) {
				t.Errorf("Server-Timing is %q", timing)
			}
		}
	})
}

// A request whose wait expires learns how far its start came: the phases add up to the wait.
func TestServerTiming_Refused(t *testing.T) {
	for _, tt := range []struct {
		timeout time.Duration
		busy    bool // Another request has the only slot.
		want    string
	}{
		{time.Second, false, "queue;dur=0.0, place;dur=1000.0, start;dur=0.0, probe;dur=0.0, forward;dur=0.0"},
		{2500 * time.Millisecond, false, "queue;dur=0.0, place;dur=2000.0, start;dur=500.0, probe;dur=0.0, forward;dur=0.0"},
		{3250 * time.Millisecond, false, "queue;dur=0.0, place;dur=2000.0, start;dur=1000.0, probe;dur=250.0, forward;dur=0.0"},
		{4500 * time.Millisecond, true, "queue;dur=1000.0, place;dur=2000.0, start;dur=1000.0, probe;dur=500.0, forward;dur=0.0"},
	} {
		synctest.Test(t, func(t *testing.T) {
			set := settings()
			set.Queue.Timeout, set.ConcurrencyLimit = wadi.Duration(tt.timeout), 1
			c := newClocked(t, routes(set, wadi.HTTP1), 20)
			defer c.end(t)
			b := &backend{name: "alloc-1", app: func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Second) }}
			coldCluster(t, c, b)
			var wg sync.WaitGroup
			if tt.busy {
				wg.Go(func() { c.ask(t, service, revision) })
				synctest.Wait()
			}
			w := httptest.NewRecorder()
			c.act.ServeRevision(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), service, revision)
			if w.Code != http.StatusGatewayTimeout {
				t.Errorf("status %d, want 504", w.Code)
			}
			var got, want [5]float64
			form := "queue;dur=%f, place;dur=%f, start;dur=%f, probe;dur=%f, forward;dur=%f"
			header := w.Header().Get("Server-Timing")
			sum := 0.0
			if _, err := fmt.Sscanf(header, form, &got[0], &got[1], &got[2], &got[3], &got[4]); err != nil {
				t.Fatalf("after %v: Server-Timing %q: %v", tt.timeout, header, err)
			}
			_, _ = fmt.Sscanf(tt.want, form, &want[0], &want[1], &want[2], &want[3], &want[4])
			for i := range got {
				sum += got[i]
				if math.Abs(got[i]-want[i]) > 150 { // A probe's pause.
					t.Errorf("after %v: Server-Timing is %q, want about %q", tt.timeout, header, tt.want)
					break
				}
			}
			if took := float64(tt.timeout) / float64(time.Millisecond); math.Abs(sum-took) > 1 {
				t.Errorf("after %v: Server-Timing %q adds up to %v ms", tt.timeout, header, sum)
			}
			wg.Wait()
		})
	}
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := settings()
		set.ConcurrencyLimit = 1
		c := newClocked(t, routes(set, wadi.HTTP1), 20)
		defer c.end(t)
		gate := make(chan struct{})
		b := &backend{name: "alloc-1", app: func(http.ResponseWriter, *http.Request) { <-gate }}
		c.dial = serveMemory(t, b).Dial
		c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "app:1"})
		var wg sync.WaitGroup
		ask := func(method, target string) {
			wg.Go(func() {
				c.act.ServeRevision(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, target, nil), service, revision)
			})
			time.Sleep(time.Second)
		}
		ask(http.MethodGet, "http://hello.example/first?token=secret")
		ask(http.MethodPost, "http://hello.example/"+strings.Repeat("x", 1000)+"?token=secret")
		got := c.act.Snapshot()
		want := activator.Snapshot{Inside: 2, Wakes: 20, Revisions: []activator.RevisionSnapshot{{
			Service: service, Revision: revision, Waiting: 1, InFlight: 1, OldestWait: wadi.Duration(time.Second),
			Instances: []activator.InstanceSnapshot{{Instance: "alloc-1", Address: "app:1", State: "ready", InFlight: 1}},
			Requests: []activator.RequestSnapshot{
				{Method: "POST", Host: "hello.example", Path: "/" + strings.Repeat("x", 199), Caller: wadi.ServiceGateway, Age: wadi.Duration(time.Second), Waiting: true},
				{Method: "GET", Host: "hello.example", Path: "/first", Caller: wadi.ServiceGateway, Age: wadi.Duration(2 * time.Second), Instance: "alloc-1", Attempts: 1},
			},
		}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for range 100 {
			wg.Go(func() { c.ask(t, service, revision) })
		}
		synctest.Wait()
		d := c.act.Snapshot()
		if r := d.Revisions[0]; r.Waiting != 101 || len(r.Requests) != 51 {
			t.Errorf("%d wait, %d requests are listed, want 101 and 50 of them besides the one in flight", r.Waiting, len(r.Requests))
		}
		if out, err := json.Marshal(d); err != nil || strings.Contains(string(out), "secret") {
			t.Errorf("got %s, %v", out, err)
		}
		close(gate)
		wg.Wait()
		if d := c.act.Snapshot(); d.Inside != 0 || d.Revisions[0].InFlight != 0 || len(d.Revisions[0].Requests) != 0 {
			t.Errorf("got %+v", d)
		}
	})
}

// The times of requests end one by one, each when its own is over, and an answer
// that has begun is broken off.
func TestRequestTimeout_AtAnInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := settings()
		set.Timeout.Request = wadi.Duration(10 * time.Second)
		c := newClocked(t, routes(set, wadi.HTTP1), 20)
		defer c.end(t)
		b := &backend{name: "alloc-1", app: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
		c.dial = serveMemory(t, b).Dial
		c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "app:1"})
		var wg sync.WaitGroup
		one := func(want time.Duration) {
			wg.Go(func() {
				if status, body, took := c.ask(t, service, revision); status != 504 || took != want {
					t.Errorf("got %d %q after %v, want 504 after %v", status, body, took, want)
				}
			})
		}
		for range 5 {
			one(10 * time.Second)
			time.Sleep(3 * time.Second)
		}
		set.Timeout.Request = wadi.Duration(500 * time.Millisecond) // Its deadline is before those of earlier requests.
		c.act.SetRoutes(routes(set, wadi.HTTP1))
		one(500 * time.Millisecond)
		wg.Wait()
		if n := gauge(t, c.reg, "wadi_activator_in_flight_requests"); n != 0 {
			t.Errorf("%v in flight", n)
		}
	})
}

func TestMetrics(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
	if got := g.get(t); got.status != 200 {
		t.Fatalf("got %v", got)
	}
	b.set(func(b *backend) { b.app = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) } })
	g.get(t)
	for name, want := range map[string]float64{
		"wadi_activator_requests_total":           2,
		"wadi_activator_request_duration_seconds": 2,
		"wadi_activator_queue_duration_seconds":   1,
		"wadi_activator_cold_start_seconds":       5,
		"wadi_activator_wakes_total":              1,
		"wadi_activator_waiting_requests":         0,
		"wadi_activator_in_flight_requests":       0,
		"wadi_activator_refusals_total":           0,
		"wadi_activator_retries_total":            0,
		"wadi_activator_upstream_connections":     1,
	} {
		until(t, fmt.Sprintf("%s is %v", name, want), func() bool { return g.gauge(t, name) == want })
	}
	got := map[string]float64{}
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "wadi_activator_requests_total" {
			for _, m := range f.GetMetric() {
				got[fmt.Sprint(m.GetLabel()[0].GetValue(), " ", m.GetLabel()[1].GetValue())] = m.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"2xx hello": 1, "4xx hello": 1}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v", problems, err)
	}
}

// While Nomad places slowly fewer wakes begin, and as many as before once it keeps up.
func TestWakes_SlowPlacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(settings(), wadi.HTTP1), 20)
		defer c.end(t)
		c.dial = serveMemory(t, &backend{name: "alloc-1"}).Dial
		takes := 3 * time.Second
		c.set(func(cl *cluster) {
			cl.onWake = func(string) {
				time.Sleep(takes)
				c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "app:1"})
			}
		})
		cycle := func() {
			if status, _, _ := c.ask(t, service, revision); status != 200 {
				t.Errorf("got %d", status)
			}
			c.place()
			time.Sleep(time.Minute)
		}
		for _, want := range []float64{10, 5, 2.5, 1.25, 1, 1} {
			cycle()
			if got := c.act.Snapshot().Wakes; got != want {
				t.Errorf("%v wakes a second, want %v", got, want)
			}
		}
		takes = 10 * time.Millisecond
		for range 5 {
			cycle()
		}
		if got := c.act.Snapshot().Wakes; got != 6 {
			t.Errorf("%v wakes a second, want five more", got)
		}
	})
}
