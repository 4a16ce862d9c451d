package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// core stands for the activator, and records its calls.
type core struct {
	mu    sync.Mutex
	asked map[string]int
	last  http.Header
	serve http.HandlerFunc
}

func (c *core) ServeRevision(w http.ResponseWriter, r *http.Request, service, revision string) {
	c.mu.Lock()
	c.asked[revision]++
	c.last = r.Header.Clone()
	serve := c.serve
	c.mu.Unlock()
	if serve != nil {
		serve(w, r)
		return
	}
	_, _ = io.WriteString(w, service+" "+revision)
}

func newGateway(t *testing.T, routes map[string]wadi.Route, trusted ...string) (*gateway.Gateway, *core) {
	t.Helper()
	c := &core{asked: map[string]int{}}
	cfg := gateway.Config{Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: c, Registerer: prometheus.NewRegistry()}
	for _, p := range trusted {
		cfg.TrustedProxies = append(cfg.TrustedProxies, netip.MustParsePrefix(p))
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if conflicts := g.SetRoutes(routes); len(conflicts) != 0 {
		t.Fatalf("conflicts: %v", conflicts)
	}
	return g, c
}

func route(name string, targets ...wadi.RouteTarget) wadi.Route {
	return wadi.Route{Service: name, Visibility: wadi.Public, Targets: targets}
}

func someRoutes() map[string]wadi.Route {
	hello := route("hello", wadi.RouteTarget{Revision: "hello-00001", Weight: 10000})
	hello.Domains = []string{"Hello.Example.com"}
	secret := route("secret", wadi.RouteTarget{Revision: "secret-00001", Weight: 10000})
	secret.Visibility = wadi.MeshOnly
	return map[string]wadi.Route{"hello": hello, "secret": secret, "gone": route("gone")}
}

func TestHosts(t *testing.T) {
	g, _ := newGateway(t, someRoutes())
	for _, tt := range []struct {
		host   string
		status int
		body   string
	}{
		{"hello.wadi.localhost", 200, "hello hello-00001"},
		{"HELLO.Wadi.localhost:8080", 200, "hello hello-00001"},
		{"hello.wadi.localhost.", 200, "hello hello-00001"},
		{"hello.wadi.localhost.:80", 200, "hello hello-00001"},
		{"hello.example.com", 200, "hello hello-00001"},
		{"secret.wadi.localhost", 404, `host "secret.wadi.localhost"`},
		{"nobody.wadi.localhost:1", 404, `host "nobody.wadi.localhost:1"`},
		{"wadi.localhost", 404, "no service"},
		{"[::1]:8080", 404, "no service"},
		{"[::1]", 404, "no service"},
		{"", 404, "(none)"},
		{"<script>", 404, "no service"},
		{"gone.wadi.localhost", 404, "no service"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = tt.host
		g.ServeHTTP(w, r)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%q: got %d %q, want %d with %q", tt.host, w.Code, w.Body, tt.status, tt.body)
		}
	}
}

func TestSplit(t *testing.T) {
	g, c := newGateway(t, map[string]wadi.Route{"a": route("a",
		wadi.RouteTarget{Revision: "a-00001", Weight: 9000},
		wadi.RouteTarget{Revision: "a-00002", Weight: 1000},
		wadi.RouteTarget{Revision: "a-00003", Weight: 0, Tag: "canary"})})
	const n = 20000
	for range n {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = "a.wadi.localhost"
		g.ServeHTTP(httptest.NewRecorder(), r)
	}
	// Five standard deviations around 2000 are 212.
	if got := c.asked["a-00002"]; got < 1788 || got > 2212 || c.asked["a-00001"]+got != n {
		t.Errorf("got %v", c.asked)
	}
}

func TestConflicts(t *testing.T) {
	a, b := route("a", wadi.RouteTarget{Revision: "a-00001", Weight: 10000}), route("b", wadi.RouteTarget{Revision: "b-00001", Weight: 10000})
	a.Domains = []string{"x.com", "b.d"}
	b.Domains = []string{"X.com.", "b.d"}
	_, got := gateway.BuildTable(map[string]wadi.Route{"a": a, "b": b}, "d")
	want := []gateway.Conflict{{Host: "b.d", Service: "a", Holder: "b"}, {Host: "x.com", Service: "b", Holder: "a"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestForwardingHeaders(t *testing.T) {
	claims := map[string]string{
		"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "Forwarded": "for=1.2.3.4", "X-Real-Ip": "1.2.3.4",
		wadi.HeaderRevision: "other-00001", wadi.HeaderProxied: "1", wadi.HeaderInstance: "x", wadi.HeaderService: "x", wadi.HeaderProbe: "x",
		"X-Forwarded-Client-Cert": "URI=forged", "X_Forwarded_Client_Cert": "URI=forged", "Wadi-Something": "x",
	}
	more := map[string]string{}
	for _, name := range []string{"X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Forwarded-Prefix", "X-Original-Url", "X-Rewrite-Url", "Front-End-Https",
		"X-Forwarded-User", "X-Envoy-External-Address", "True-Client-Ip", "Cf-Connecting-Ip", "Client-Cert", "Remote-User", "Proxy"} {
		claims[name], more[name] = "claimed", "claimed"
	}
	for name, tt := range map[string]struct {
		trusted []string
		want    map[string]string
	}{
		"untrusted": {nil, map[string]string{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "hello.wadi.localhost"}},
		"elsewhere": {[]string{"10.0.0.0/8"}, map[string]string{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "hello.wadi.localhost"}},
		"trusted":   {[]string{"192.0.2.0/24"}, map[string]string{"X-Forwarded-For": "1.2.3.4, 192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "Forwarded": "for=1.2.3.4, for=192.0.2.1;proto=http", "X-Real-Ip": "1.2.3.4"}},
	} {
		t.Run(name, func(t *testing.T) {
			g, c := newGateway(t, someRoutes(), tt.trusted...)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = "hello.wadi.localhost"
			for k, v := range claims {
				r.Header.Set(k, v)
			}
			g.ServeHTTP(httptest.NewRecorder(), r)
			got := map[string]string{}
			for k := range c.last {
				got[k] = c.last.Get(k)
			}
			want := maps.Clone(tt.want)
			if name == "trusted" {
				maps.Copy(want, more)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// serve runs a server in front of g until the test ends; stop ends it before.
func serve(t *testing.T, h http.Handler) (addr string, stop func() error) {
	t.Helper()
	s, err := gateway.NewServer(t.Context(), gateway.ServerConfig{Address: "127.0.0.1:0", Handler: h, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ran
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s.Addr().String(), stop
}

func TestServer_HugeHeader(t *testing.T) {
	g, _ := newGateway(t, someRoutes())
	addr, _ := serve(t, g)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	go func() { // The server may stop reading before all is written.
		_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: hello.wadi.localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 80<<10))
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Fatalf("got %v, %v; want 431", res, err)
	}
}

func TestServer_H2C(t *testing.T) {
	g, _ := newGateway(t, someRoutes())
	addr, _ := serve(t, g)
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr, nil)
	r.Host = "hello.wadi.localhost"
	res, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != 200 {
		t.Errorf("got %s over %s", res.Status, res.Proto)
	}
}

func TestServer_ShutdownLetsRequestsFinish(t *testing.T) {
	g, c := newGateway(t, someRoutes())
	began, finish := make(chan struct{}), make(chan struct{})
	c.serve = func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		_, _ = io.WriteString(w, "done")
	}
	addr, stop := serve(t, g)
	got := make(chan string, 1)
	go func() {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr, nil)
		r.Host = "hello.wadi.localhost"
		res, err := (&http.Transport{}).RoundTrip(r)
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		got <- string(b)
	}()
	<-began
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // Until the listener is closed.
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(finish)
	if s := <-got; s != "done" {
		t.Errorf("got %q", s)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestServer_PortTaken(t *testing.T) {
	g, _ := newGateway(t, someRoutes())
	addr, _ := serve(t, g)
	_, err := gateway.NewServer(t.Context(), gateway.ServerConfig{Address: addr, Handler: g, Log: hclog.NewNullLogger()})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"hello.wadi.localhost:80", "[::1]:1", "::", "a:b:c", "]", ":", "."} {
		f.Add(s)
	}
	g, err := gateway.New(gateway.Config{Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: &core{asked: map[string]int{}}, Registerer: prometheus.NewRegistry()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		g.ServeHTTP(w, r)
		if w.Code != 404 || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
	})
}
