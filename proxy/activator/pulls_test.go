package activator_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// A cold start that pulls an image has a phase for it, and the others are what is left. What
// the node says of its own clock, or too late, makes none negative or longer than the wait.
func TestPhases_Pull(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		name    string
		reports []wadi.PullTime // Before the queue-proxy answers, and before the app is ready.
		want    activator.Phases
	}{
		// Placed at 2 s; the queue-proxy answers at 3 s, the app is ready at 6 s.
		{"no pull", []wadi.PullTime{{}, {}}, activator.Phases{Place: 2 * second, Start: second, Probe: 3 * second}},
		{"before it answers", []wadi.PullTime{{After: second / 4, Took: second / 2}, {After: second / 4, Took: second / 2}},
			activator.Phases{Place: 2 * second, Pull: second / 2, PullBefore: second / 2, Start: second / 2, Probe: 3 * second}},
		{"the app's, after the queue-proxy answered", []wadi.PullTime{{After: second / 2, Ongoing: true}, {After: second / 2, Took: 3 * second}},
			activator.Phases{Place: 2 * second, Pull: 3 * second, PullBefore: second / 2, Start: second / 2, Probe: second / 2}},
		{"its end is not reported yet", []wadi.PullTime{{After: second / 2, Ongoing: true}, {After: second / 2, Ongoing: true}},
			activator.Phases{Place: 2 * second, Pull: 3*second + second/2, PullBefore: second / 2, Start: second / 2}},
		{"a clock an hour fast", []wadi.PullTime{{After: time.Hour, Took: second}, {After: time.Hour, Took: second}},
			activator.Phases{Place: 2 * second, Start: second, Probe: 3 * second}},
		{"a pull of an hour", []wadi.PullTime{{Took: time.Hour}, {Took: time.Hour}},
			activator.Phases{Place: 2 * second, Pull: 4 * second, PullBefore: second}},
		{"negative times", []wadi.PullTime{{After: -time.Hour, Took: -second}, {After: -second, Took: -time.Hour}},
			activator.Phases{Place: 2 * second, Start: second, Probe: 3 * second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClocked(t, routes(minute(), wadi.HTTP1), 20, func(c *activator.Config) { c.RequestRecords = true })
				defer c.end(t)
				b := &backend{name: "alloc-1"}
				listener := serveMemory(t, b)
				var listens atomic.Bool
				b.set(func(b *backend) { b.unready = true })
				c.dial = func(ctx context.Context) (net.Conn, error) {
					if !listens.Load() {
						return nil, errors.New("connection refused")
					}
					return listener.Dial(ctx)
				}
				at := func(p wadi.PullTime) {
					c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: b.name, Addr: "app:1", Pull: p})
				}
				c.set(func(cl *cluster) {
					cl.onWake = func(string) {
						time.Sleep(2 * second)
						at(wadi.PullTime{})
						time.Sleep(second * 3 / 4)
						at(tt.reports[0])
						time.Sleep(second / 4)
						listens.Store(true)
						time.Sleep(2*second + second*9/10)
						at(tt.reports[1])
						time.Sleep(second / 10)
						b.set(func(b *backend) { b.unready = false })
					}
				})
				record := &activator.RequestRecord{}
				w := httptest.NewRecorder()
				r := httptest.NewRequestWithContext(activator.WithRequestRecord(t.Context(), record), http.MethodGet, "/", nil)
				c.act.ServeRevision(w, r, service, revision)
				if diff := cmp.Diff(&tt.want, record.Cold, near); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				p := record.Cold
				if sum := p.Queue + p.Place + p.Pull + p.Start + p.Probe + p.Turn; sum != record.Granted.Sub(record.Arrived) {
					t.Errorf("the phases %+v add up to %v, want %v", p, sum, record.Granted.Sub(record.Arrived))
				}
				pulled, phases := tt.want.Pull > 0, 5.0
				if pulled {
					phases = 6
				}
				if header := w.Header().Get("Server-Timing"); strings.Contains(header, ", pull;dur=") != pulled {
					t.Errorf("Server-Timing is %q", header)
				}
				if n := gauge(t, c.reg, "wadi_activator_cold_start_seconds"); n != phases {
					t.Errorf("%v phases observed, want %v", n, phases)
				}
			})
		})
	}
}

// A request that comes while the image is not to be asked for again learns so at once, with
// the time that is left; nothing is woken for it. Outside the mesh it learns the kind alone.
func TestPullPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
		defer c.end(t)
		const reason = "task web: too many requests: wait (Failed to pull `r.example/app:1`: toomanyrequests)"
		c.set(func(c *cluster) {
			c.wakeErr = fmt.Errorf("wake %s: %w", revision, &wadi.PullPausedError{Kind: wadi.PullTooMany, Reason: reason, For: 20 * time.Second})
		})
		for i := range 10 {
			w := httptest.NewRecorder()
			began := time.Now()
			c.act.ServeRevision(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), service, revision)
			body, left := w.Body.String(), fmt.Sprint(20-i)
			if took := time.Since(began); took > 100*time.Millisecond || w.Code != 503 || w.Header().Get("Retry-After") != left || w.Header().Get(activator.HeaderError) != "unplaceable" {
				t.Errorf("request %d: got %d after %v, %v, want 503 at once with Retry-After %s", i, w.Code, took, w.Header(), left)
			}
			if !strings.Contains(body, "an image of it can't be had: too many requests") || strings.Contains(body, "r.example") || !strings.Contains(body, wadi.ReasonID(revision, reason)) {
				t.Errorf("a caller from outside got %q", body)
			}
			time.Sleep(time.Second)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set(wadi.HeaderService, service)
		r.Header.Set(wadi.HeaderRevision, revision)
		w := httptest.NewRecorder()
		c.act.MeshHandler(allowAll{}).ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), reason) {
			t.Errorf("a caller in the mesh got %q, want the reason", w.Body)
		}
		if n := c.cluster.woken(revision); n != 1 {
			t.Errorf("%d wakes, want one", n)
		}
		time.Sleep(10 * time.Second)
		c.set(func(cl *cluster) { cl.wakeErr = nil })
		go c.ask(t, service, revision)
		time.Sleep(time.Second)
		if n := c.cluster.woken(revision); n != 2 {
			t.Errorf("%d wakes after the pause, want one more", n)
		}
	})
}

// What only a person can mend refuses waiting requests soon; what may pass by itself does not.
func TestBlocked_HopelessPullSoon(t *testing.T) {
	for kind, want := range map[wadi.PullFailure]time.Duration{wadi.PullNoTag: 3 * time.Second, wadi.PullAway: 15 * time.Second, "": 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
			defer c.end(t)
			c.set(func(c *cluster) {
				c.diagnosis, c.pull, c.since = "reason", kind, time.Now()
				c.onWake = func(string) {
					c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "app:1"})
				}
			})
			status, body, took := c.ask(t, service, revision)
			if status != 503 || (took-want).Abs() > time.Second || strings.Contains(body, "image of it can't be had") != (kind != "") {
				t.Errorf("%q: got %d after %v: %s; want 503 after %v", string(kind), status, took, body, want)
			}
		})
	}
}
