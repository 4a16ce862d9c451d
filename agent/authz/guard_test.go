package authz

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// fakeIntentions is Consul: what it emits, and what it hides.
type fakeIntentions struct {
	emit chan consul.Intentions

	mu      sync.Mutex
	hidden  map[string]bool
	present map[string]bool // Unlisted, and there.
	begun   int             // Watches.
	err     error
	asked   int
}

func (f *fakeIntentions) WatchIntentions(ctx context.Context, emit func(consul.Intentions), _ func(error)) error {
	f.mu.Lock()
	f.begun++
	f.mu.Unlock()
	for {
		select {
		case i := <-f.emit:
			emit(i)
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *fakeIntentions) UnlistedIntentions(_ context.Context, services []string) (consul.Unlisted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	out := map[string]bool{}
	for _, s := range services {
		if f.hidden[s] {
			out[s] = true
		}
	}
	return consul.Unlisted{Hidden: out, Present: maps.Clone(f.present)}, f.err
}

func (f *fakeIntentions) set(err error, hidden ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.hidden = err, map[string]bool{}
	for _, s := range hidden {
		f.hidden[s] = true
	}
}

func l4(destination, from string, action api.IntentionAction) *api.ServiceIntentionsConfigEntry {
	return &api.ServiceIntentionsConfigEntry{Name: destination, Sources: []*api.SourceIntention{{Name: from, Action: action}}}
}

// guarded runs a guard of the services hello and plain, which is not in the mesh.
func guarded(t *testing.T) (g *Guard, f *fakeIntentions, route func(name string)) {
	f = &fakeIntentions{emit: make(chan consul.Intentions)}
	var mu sync.Mutex
	routes := map[string]wadi.Route{"hello": {Service: "hello", Mesh: wadi.MeshEnvoy}, "plain": {Service: "plain", Mesh: wadi.MeshOff}}
	g = New(f, func() map[string]wadi.Route {
		mu.Lock()
		defer mu.Unlock()
		return routes
	}, hclog.NewNullLogger())
	go func() { _ = g.Run(t.Context()) }()
	return g, f, func(name string) {
		mu.Lock()
		routes = maps.Clone(routes)
		routes[name] = wadi.Route{Service: name, Mesh: wadi.MeshEnvoy}
		mu.Unlock()
		g.RoutesChanged()
	}
}

// expect authorizes a call once all goroutines are idle.
func expect(t *testing.T, g *Guard, caller, service string, want error) {
	t.Helper()
	synctest.Wait()
	got := g.Authorize(caller, service, httptest.NewRequest(http.MethodGet, "/", nil))
	if want == nil && got != nil || !errors.Is(got, want) {
		t.Errorf("%s to %s: got %v, want %v", caller, service, got, want)
	}
}

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, f, _ := guarded(t)
		expect(t, g, "web", "hello", wadi.ErrUnavailable) // Before anything is known.
		if _, known := g.Missing("hello", true); known {
			t.Error("something is known")
		}
		changed := g.Changed()
		f.emit <- consul.Intentions{DefaultAllow: true}
		expect(t, g, "web", "hello", nil)
		<-changed
		if err := g.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		f.emit <- consul.Intentions{DefaultAllow: true, Entries: []*api.ServiceIntentionsConfigEntry{l4("hello", "web", "deny")}}
		expect(t, g, "web", "hello", wadi.ErrForbidden)
		expect(t, g, "api", "hello", nil)
		expect(t, g, wadi.ServiceGateway, "hello", nil)
		f.emit <- consul.Intentions{Entries: []*api.ServiceIntentionsConfigEntry{l4("hello", "web", "allow")}}
		expect(t, g, "web", "hello", nil)
		expect(t, g, wadi.ServiceGateway, "hello", wadi.ErrForbidden)
		if missing, known := g.Missing("hello", true); !known || len(missing) != 2 {
			t.Errorf("missing %v, known %t", missing, known)
		}
	})
}

// To a service outside the mesh only intentions that name it apply.
func TestGuard_MeshOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, f, _ := guarded(t)
		f.emit <- consul.Intentions{Entries: []*api.ServiceIntentionsConfigEntry{l4("*", "*", "deny")}}
		expect(t, g, wadi.ServiceGateway, "plain", nil)
		expect(t, g, wadi.ServiceGateway, "hello", wadi.ErrForbidden)
		f.emit <- consul.Intentions{DefaultAllow: true, Entries: []*api.ServiceIntentionsConfigEntry{l4("plain", wadi.ServiceGateway, "deny")}}
		expect(t, g, wadi.ServiceGateway, "plain", wadi.ErrForbidden)
	})
}

// Intentions that may not be read look like none, and none may mean that every caller may call.
func TestGuard_Hidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, f, _ := guarded(t)
		f.set(nil, "hello")
		f.emit <- consul.Intentions{DefaultAllow: true}
		expect(t, g, "web", "hello", wadi.ErrUnavailable)
		expect(t, g, wadi.ServiceGateway, "plain", nil)
		if err := g.Ready(t.Context()); err != nil {
			t.Errorf("a hidden service keeps the agent from starting: %v", err)
		}
		if err := g.Authorize("web", "hello", httptest.NewRequest(http.MethodGet, "/", nil)); !strings.Contains(err.Error(), "may not read") {
			t.Errorf("got %v", err)
		}
		if _, known := g.Missing("hello", true); known {
			t.Error("hidden intentions are known")
		}
		if n := g.Hidden(); n != 1 {
			t.Errorf("%d services with hidden intentions, want 1", n)
		}
		f.set(nil) // The right is given, without a signal.
		time.Sleep(retryHidden)
		expect(t, g, "web", "hello", nil)
		// It is taken away: the intention that was there looks deleted.
		f.emit <- consul.Intentions{DefaultAllow: true, Entries: []*api.ServiceIntentionsConfigEntry{l4("hello", "web", "deny")}}
		expect(t, g, "web", "hello", wadi.ErrForbidden)
		f.set(nil, "hello")
		f.emit <- consul.Intentions{DefaultAllow: true}
		expect(t, g, "web", "hello", wadi.ErrUnavailable)
	})
}

// A list that was made with fewer rights lacks intentions that can be read by now: it is not
// put in force, and the intentions are read again.
func TestGuard_ListOfFewerRights(t *testing.T) {
	for _, lacks := range []string{"hello", "*"} {
		synctest.Test(t, func(t *testing.T) {
			g, f, _ := guarded(t)
			f.emit <- consul.Intentions{Entries: []*api.ServiceIntentionsConfigEntry{l4("hello", "web", "allow")}}
			expect(t, g, "web", "hello", nil)
			f.mu.Lock()
			f.present = map[string]bool{lacks: true}
			f.mu.Unlock()
			f.emit <- consul.Intentions{DefaultAllow: true}
			expect(t, g, "web", "hello", nil)
			expect(t, g, "api", "hello", wadi.ErrForbidden) // As before: the new list would let it in.
			time.Sleep(retryUnknown)
			synctest.Wait()
			if f.begun != 2 {
				t.Errorf("the watch began %d times, want 2", f.begun)
			}
			f.emit <- consul.Intentions{DefaultAllow: true, Entries: []*api.ServiceIntentionsConfigEntry{l4(lacks, "web", "deny")}}
			expect(t, g, "web", "hello", wadi.ErrForbidden)
		})
	}
}

// While Consul can't say what it hides, the last known intentions stay in force; the newest
// come into force as soon as it can.
func TestGuard_Away(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, f, route := guarded(t)
		f.emit <- consul.Intentions{DefaultAllow: true}
		expect(t, g, "web", "hello", nil)
		f.set(errors.New("away"))
		f.emit <- consul.Intentions{DefaultAllow: false}
		expect(t, g, "web", "hello", nil)
		if err := g.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		route("new")
		expect(t, g, "web", "new", wadi.ErrUnavailable)
		if g.Ready(t.Context()) == nil {
			t.Error("it is ready without the intentions of a service")
		}
		time.Sleep(5 * retryUnknown)
		expect(t, g, "web", "hello", nil)
		f.set(nil)
		time.Sleep(retryUnknown)
		expect(t, g, "web", "hello", wadi.ErrForbidden)
		expect(t, g, "web", "new", wadi.ErrForbidden)
	})
}

// A new service is not authorized before its intentions are known to be complete, and then
// without a change of any intention.
func TestGuard_NewService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, f, route := guarded(t)
		f.emit <- consul.Intentions{DefaultAllow: true}
		synctest.Wait()
		f.set(nil, "secret")
		route("secret")
		expect(t, g, "web", "secret", wadi.ErrUnavailable)
		route("new")
		expect(t, g, "web", "new", nil)
		f.set(nil)
		time.Sleep(retryHidden)
		synctest.Wait()
		asked := f.asked
		g.RoutesChanged() // Of services that are known already.
		expect(t, g, "web", "secret", nil)
		if f.asked != asked {
			t.Error("rights were asked for again")
		}
	})
}

func TestGuard_Caller(t *testing.T) {
	g := New(nil, nil, hclog.NewNullLogger())
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if who, err := g.Caller(r); err == nil {
		t.Errorf("without TLS: %q", who)
	}
	id := &url.URL{Scheme: "spiffe", Host: "a.consul", Path: "/ns/default/dc/dc1/svc/web"}
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{URIs: []*url.URL{id}}}}
	if who, err := g.Caller(r); who != "web" || err != nil {
		t.Errorf("got %q, %v", who, err)
	}
	id.Path = "/gateway/mesh/dc/dc1"
	if who, err := g.Caller(r); err == nil {
		t.Errorf("a mesh gateway is %q", who)
	}
	// No other caller may use the names of Wadi's own parts.
	for _, name := range append(wadi.Activators(), wadi.ServiceGateway) {
		id.Path = "/ns/default/dc/dc1/svc/" + name
		if who, err := g.Caller(r); err == nil || who != "" {
			t.Errorf("%s: got %q, %v", name, who, err)
		}
	}
}

// A call of a service that has just been routed waits until its intentions are known.
func TestGuard_NewServiceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, f, route := guarded(t)
		f.emit <- consul.Intentions{DefaultAllow: true}
		expect(t, g, "web", "hello", nil)
		route("fresh")
		if err := g.Authorize("web", "fresh", httptest.NewRequest(http.MethodGet, "/", nil)); err != nil {
			t.Errorf("a call at once: got %v, want none", err)
		}
		f.set(errors.New("consul is away"))
		route("later")
		began := time.Now()
		expect(t, g, "web", "later", wadi.ErrUnavailable)
		if got := time.Since(began); got != newServiceWait {
			t.Errorf("waited %v, want %v", got, newServiceWait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		err := g.Authorize("web", "later", httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		if !errors.Is(err, wadi.ErrUnavailable) || time.Since(began) > 0 {
			t.Errorf("a caller that left: got %v after %v", err, time.Since(began))
		}
	})
}
