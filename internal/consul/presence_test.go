package consul_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/consul"
)

// localAgent is a fake of Consul's agent API for registrations.
type localAgent struct {
	mu    sync.Mutex
	known bool
	calls []string
	code  int // Of every answer; 0: none.
}

func (a *localAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, call, _ := strings.Cut(r.URL.Path, "/v1/agent/")
	a.calls = append(a.calls, call)
	switch {
	case a.code != 0:
		http.Error(w, "No cluster leader", a.code)
	case call == "service/register":
		a.known = true
	case !a.known:
		http.Error(w, "Unknown check ID", http.StatusNotFound)
	}
}

func (a *localAgent) set(known bool, code int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known, a.code, a.calls = known, code, nil
}

func (a *localAgent) want(t *testing.T, calls ...string) {
	t.Helper()
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if diff := cmp.Diff(calls, a.calls); diff != "" {
		t.Fatalf("calls (-want +got):\n%s", diff)
	}
	a.calls = nil
}

// inProcess sends requests to a handler without a network, so that it works in a synctest
// bubble.
type inProcess struct{ h http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

func TestPresence_RegistersPassesAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &localAgent{}
		p := &consul.Presence{
			Client:  consul.NewForTest(t, inProcess{a}),
			Service: consul.ActivatorRegistrations("one", "127.0.0.1", 4749)[0],
			Log:     hclog.NewNullLogger(),
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()

		const pass = "check/update/service:wadi-activator:one"
		a.want(t, "service/register")
		if got, want := time.Until(p.AliveUntil()), consul.DefaultTTL; got != want {
			t.Errorf("alive for %s, want %s", got, want)
		}
		time.Sleep(2500 * time.Millisecond)
		a.want(t, pass, pass)

		a.set(false, 0) // Consul restarts and has lost its data.
		time.Sleep(time.Second)
		a.want(t, pass, "service/register")

		a.set(true, 500) // Unavailable: no new registration, and no longer alive after the TTL.
		time.Sleep(5 * time.Second)
		a.want(t, pass, pass, pass, pass, pass)
		if time.Now().Before(p.AliveUntil()) {
			t.Error("alive although no pass got through for longer than the TTL")
		}
		a.set(true, 0)
		time.Sleep(time.Second)
		a.want(t, pass)

		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v, want nil", err)
		}
		a.want(t, "service/deregister/wadi-activator:one")
	})
}

// A service of each protocol finds the same listener under the name of its protocol.
func TestActivatorRegistrations(t *testing.T) {
	var got []string
	for _, r := range consul.ActivatorRegistrations("one", "10.0.0.1", 4749) {
		if r.Address != "10.0.0.1" || r.Port != 4749 || !r.ConnectNative {
			t.Errorf("got %+v, want the listener at 10.0.0.1:4749, native", r)
		}
		got = append(got, r.Name+" "+r.ID)
	}
	want := []string{"wadi-activator wadi-activator:one", "wadi-activator-http2 wadi-activator-http2:one", "wadi-activator-grpc wadi-activator-grpc:one"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registrations (-want +got):\n%s", diff)
	}
}

func TestAgentName(t *testing.T) {
	for _, want := range []string{"one", "activator-one", "a.b_c"} {
		if got := consul.AgentName(consul.AgentRegistration(want, "10.0.0.1", 1, nil).ID); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
