package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/agenttest"
	"github.com/wadi-run/wadi/agent/config"
)

// unconnected is an agent without Nomad and Consul that is not run.
func unconnected(t *testing.T) *Agent {
	t.Helper()
	file, _ := agenttest.SecureConfig(t, false)
	cfg, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.Telemetry.AccessLog = true // It has a metric.
	a, err := New(t.Context(), cfg, Deps{Log: hclog.NewNullLogger(), AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	a.startup.done() // As if it had started.
	return a
}

// Each plane answers its own paths only.
func TestPlanes_KeepToThemselves(t *testing.T) {
	a := unconnected(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = a.front.gateway.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	admin := a.admin()
	for _, path := range []string{"/v1/admin/live", "/v1/admin/drain", "/v1/admin/dump", "/v1/admin/log-level", "/debug/pprof/", "/debug/pprof/goroutine"} {
		res, err := http.Get("http://" + a.GatewayAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNotFound || res.Header.Get("Wadi-Error") != "unknown_host" {
			t.Errorf("the gateway answers %s: %d, %q", path, res.StatusCode, res.Header.Get("Wadi-Error"))
		}
		for name, tt := range map[string]struct {
			h    http.Handler
			want int
		}{
			"mesh":    {a.activator.MeshHandler(a.guard), http.StatusForbidden},
			"metrics": {a.metrics.server.Handler, http.StatusNotFound},
			"admin":   {admin, http.StatusOK},
		} {
			w := httptest.NewRecorder()
			tt.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if w.Code != tt.want {
				t.Errorf("the %s plane answers %s: %d, want %d", name, path, w.Code, tt.want)
			}
		}
	}
}

// The dump tells what the agent knows, but for the secrets by which it is believed.
func TestDump_NoProofs(t *testing.T) {
	a := unconnected(t)
	a.routing.set(map[string]wadi.Route{
		"hello": {Service: "hello", Revisions: map[string]wadi.RouteRevision{"hello-00001": {Proof: "not-for-callers"}}},
	})
	w := httptest.NewRecorder()
	a.admin().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/admin/dump", nil))
	if body := w.Body.String(); !strings.Contains(body, "hello-00001") || strings.Contains(body, "not-for-callers") {
		t.Errorf("%d %s", w.Code, body)
	}
	if a.routing.all()["hello"].Revisions["hello-00001"].Proof == "" {
		t.Error("the agent itself has lost it")
	}
}

// The API's server admits callers to the admin plane only with a token, unless Nomad has no ACLs and
// they are on its machine.
func TestAdmin_NeedsAToken(t *testing.T) {
	a := unconnected(t)
	for _, path := range []string{"/v1/admin/dump", "/debug/pprof/heap"} {
		// From loopback it is enough that Nomad has no ACLs; it is unavailable here.
		for remote, want := range map[string]int{"127.0.0.1:9": http.StatusServiceUnavailable, "192.0.2.1:9": http.StatusUnauthorized} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.RemoteAddr = remote
			w := httptest.NewRecorder()
			a.api.server.Handler().ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s from %s: %d, want %d", path, remote, w.Code, want)
			}
		}
		// Nomad judges the token, and is unavailable here.
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr = "192.0.2.1:9"
		r.Header.Set("X-Nomad-Token", "anything")
		w := httptest.NewRecorder()
		a.api.server.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "127.0.0.1") {
			t.Errorf("%s with a token, Nomad away: %d, want 503: %s", path, w.Code, w.Body)
		}
	}
}

func TestMetrics_KeepToTheConventions(t *testing.T) {
	a := unconnected(t)
	w := httptest.NewRecorder()
	a.metrics.server.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := w.Body.String()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, want := range []string{"wadi_activator_waiting_requests ", "wadi_access_log_dropped_total ", "go_goroutines ", "process_cpu_seconds_total "} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// Idle connections, also many of one peer, don't keep others from the API and the metrics;
// and a plane that does not speak HTTP/2 makes no buffers for its frames.
func TestPlanes_IdleConnsMakeRoom(t *testing.T) {
	a := unconnected(t)
	planes := newGroup(context.WithoutCancel(t.Context()))
	defer planes.stop()
	planes.run("api", a.api.run)
	planes.run("metrics", a.metrics.run)
	for path, tt := range map[string]struct {
		addr net.Addr
		max  int
	}{
		"/v1/agent/health": {a.APIAddr(), maxAPIConns},
		"/metrics":         {a.MetricsAddr(), maxMetricsConns},
	} {
		var first net.Conn
		for range tt.max {
			c, err := net.Dial("tcp", tt.addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if first == nil {
				first = c
			}
		}
		for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
			tr := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext}
			res, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Get("http://" + tt.addr.String() + path)
			if err != nil {
				t.Fatalf("%s from %s: %v", path, ip, err)
			}
			_ = res.Body.Close()
		}
		_ = first.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := first.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the first idle connection of %d is still open", path, tt.max)
		}
		c, err := net.Dial("tcp", tt.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab")
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 ") {
			t.Errorf("%s: with a body that never comes: %.100q, %v", path, got, err)
		}
		if c, err = net.Dial("tcp", tt.addr.String()); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), "HTTP/1.1 ") {
			t.Errorf("%s: to HTTP/2 it answers %q", path, got)
		}
		_ = c.Close()
	}
}
