package activator_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// askMany sends n requests, and returns a function that waits for their statuses.
func (c *clocked) askMany(t *testing.T, n int, service, revision string) (statuses func() map[int]int) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for range n {
		wg.Go(func() {
			status, _, _ := c.ask(t, service, revision)
			mu.Lock()
			got[status]++
			mu.Unlock()
		})
	}
	return func() map[int]int {
		wg.Wait()
		return got
	}
}

// atInstance is how many requests b has now, once everything has come to rest.
func atInstance(b *backend) int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// An activator that has a peer takes half of an instance at once, more only after
// its requests have waited, and the half again when they have not for a while.
func TestShareOfALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := settings()
		set.ConcurrencyLimit = 4
		c := newClocked(t, routes(set, wadi.HTTP1), 20)
		defer c.end(t)
		gate := make(chan struct{})
		b := &backend{name: "alloc-1", app: func(http.ResponseWriter, *http.Request) { <-gate }}
		defer func() { // Else a test that fails would hang.
			if t.Failed() {
				close(gate)
			}
		}()
		c.dial = serveMemory(t, b).Dial
		c.act.SetPeers(2)
		c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "app:1"})
		statuses := c.askMany(t, 10, service, revision)
		for _, want := range []int{2, 3, 4, 4} {
			if got := atInstance(b); got != want {
				t.Fatalf("%d at the instance after %v, want %d", got, time.Since(c.start), want)
			}
			time.Sleep(51 * time.Millisecond)
		}
		close(gate)
		if got := statuses(); got[200] != 10 {
			t.Errorf("got %v, want all answered", got)
		}

		gate = make(chan struct{})
		time.Sleep(10 * time.Second)
		statuses = c.askMany(t, 5, service, revision)
		if got := atInstance(b); got != 3 && got != 4 { // The limit falls when a request has to wait.
			t.Fatalf("%d at the instance, want what was lent", got)
		}
		close(gate)
		statuses()

		gate = make(chan struct{})
		statuses = c.askMany(t, 10, service, revision)
		if got := atInstance(b); got != 2 {
			t.Fatalf("%d at the instance, want the share again", got)
		}
		c.act.SetPeers(1)
		if got := atInstance(b); got != 4 {
			t.Fatalf("%d at the instance, want the whole limit without a peer", got)
		}
		set.ConcurrencyLimit = 6
		c.act.SetRoutes(routes(set, wadi.HTTP1))
		if got := atInstance(b); got != 6 {
			t.Fatalf("%d at the instance, want the new limit", got)
		}
		close(gate)
		statuses()
	})
}

// A revision whose requests flood an agent up to its bounds leaves some of the budget for
// another revision.
func TestFloodLeavesBudget(t *testing.T) {
	for name, edit := range map[string]func(*activator.Config){
		"count": func(c *activator.Config) { c.MaxWaiting = 50 },
		"bytes": func(c *activator.Config) { c.MaxWaitingBytes = 50 * 21 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := routes(settings(), wadi.HTTP1)
				other := wadi.RevisionID("other", 1)
				all["other"] = wadi.Route{Service: "other", Targets: allOf(other), Revisions: map[string]wadi.RouteRevision{other: settings()}}
				c := newClocked(t, all, 20, edit)
				defer c.end(t)
				c.dial = serveMemory(t, &backend{name: "alloc-1"}).Dial
				c.set(func(cl *cluster) {
					cl.onWake = func(rev string) {
						if rev == other {
							c.placeRevision(other, wadi.Endpoint{Revision: other, Service: "other", Instance: "alloc-1", Addr: "app:1"})
						}
					}
				})
				flood := c.askMany(t, 200, service, revision)
				synctest.Wait()
				waiting := gauge(t, c.reg, "wadi_activator_waiting_requests")
				if waiting < 30 || waiting > 45 {
					t.Errorf("%v wait, want most of 50, but not all", waiting)
				}
				if status, body, _ := c.ask(t, "other", other); status != 200 {
					t.Errorf("another revision's request got %d %s", status, body)
				}
				c.act.SetRoutes(nil)
				if got := flood(); got[404] == 0 || got[404]+got[503] != 200 {
					t.Errorf("got %v, want those that waited retired, and the others refused", got)
				}
				if again := c.act.Snapshot(); len(again.Revisions) != 0 || again.Inside != 0 {
					t.Errorf("got %+v left", again)
				}
			})
		})
	}
}

// However many revisions flood, the next one gets in.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := map[string]wadi.Route{}
		name := func(i int) (string, string) { s := fmt.Sprintf("s%02d", i); return s, wadi.RevisionID(s, 1) }
		for i := range 10 {
			s, id := name(i)
			all[s] = wadi.Route{Service: s, Targets: allOf(id), Revisions: map[string]wadi.RouteRevision{id: settings()}}
		}
		c := newClocked(t, all, 20, func(c *activator.Config) { c.MaxWaiting = 1000 })
		defer c.end(t)
		for i := range 10 {
			s, id := name(i)
			before := gauge(t, c.reg, "wadi_activator_waiting_requests")
			c.askMany(t, 1000, s, id)
			synctest.Wait()
			if got := gauge(t, c.reg, "wadi_activator_waiting_requests") - before; i > 0 && got < 1 {
				t.Fatalf("after %v waiting requests, no one's of revision %d found room", before, i)
			}
		}
		c.act.SetRoutes(nil)
	})
}

// judge is a guard whose mind changes.
type judge struct {
	mu    sync.Mutex
	err   error
	asked []string
}

func (*judge) Caller(*http.Request) (string, error) { return "web", nil }

func (j *judge) Authorize(caller, service string, r *http.Request) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, caller+" "+service+" "+r.Header.Get(wadi.HeaderService))
	return j.err
}

func (j *judge) set(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
}

func TestReauthorizedAfterWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{}
		c := newClocked(t, routes(settings(), wadi.HTTP1), 20, func(c *activator.Config) { c.Guard = j })
		defer c.end(t)
		b := &backend{name: "alloc-1"}
		listener := serveMemory(t, b)
		c.dial = func(ctx context.Context) (net.Conn, error) { return listener.Dial(ctx) }
		mesh := c.act.MeshHandler(j)
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Header.Set(wadi.HeaderService, service)
			r.Header.Set(wadi.HeaderRevision, revision)
			mesh.ServeHTTP(w, r)
			return w
		}
		answers := make(chan *httptest.ResponseRecorder, 2)
		go func() { answers <- ask() }()
		outside := make(chan int, 1)
		go func() { status, _, _ := c.ask(t, service, revision); outside <- status }()
		time.Sleep(time.Minute)
		j.set(wadi.ErrForbidden)
		c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "app:1"})
		if w := <-answers; w.Code != 403 || w.Header().Get(activator.HeaderError) != activator.CodeDenied {
			t.Errorf("a mesh caller that waited got %d %s", w.Code, w.Body)
		}
		if status := <-outside; status != 403 {
			t.Errorf("an outside caller that waited got %d, want 403", status)
		}
		if n, _, _ := b.counts(); n != 0 {
			t.Errorf("the instance got %d requests", n)
		}
		if d := c.act.Snapshot(); d.Inside != 0 || d.Revisions[0].Instances[0].InFlight != 0 {
			t.Errorf("got %+v, want nothing in flight", d)
		}
		j.set(nil)
		if w := ask(); w.Code != 200 {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		want := []string{"web hello hello", "web hello hello", "wadi-gateway hello ", "web hello hello"} // Warm: asked once.
		j.mu.Lock()
		defer j.mu.Unlock()
		if len(j.asked) != len(want) {
			t.Errorf("asked %q, want %d times", j.asked, len(want))
		}
		for i, a := range j.asked {
			if i > 0 && i < 3 {
				continue // These two come in either order.
			}
			if a != want[i] {
				t.Errorf("asked %q, want %q", a, want[i])
			}
		}
	})
}
