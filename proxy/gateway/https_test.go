package gateway_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// serveTLS runs a TLS listener until the test ends.
func serveTLS(t *testing.T, h http.Handler, c *gateway.Certificates) (addr string) {
	t.Helper()
	s, err := gateway.NewServer(t.Context(), gateway.ServerConfig{Address: "127.0.0.1:0", Handler: h, TLS: c.TLSConfig(), Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return s.Addr().String()
}

// askTLS sends a request on a new connection with sni in the handshake.
func askTLS(t *testing.T, addr, sni, host string, h2 bool) *http.Response {
	t.Helper()
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{ServerName: sni, InsecureSkipVerify: true},
		ForceAttemptHTTP2: h2, DisableKeepAlives: !h2,
	}
	if sni == "" { // net/http would put the host there.
		tr.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{ServerName: "127.0.0.1", InsecureSkipVerify: true}}).DialContext(ctx, network, addr)
		}
	}
	t.Cleanup(tr.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	res, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatalf("sni %q, host %q: %v", sni, host, err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res
}

func TestOverTLS(t *testing.T) {
	dir := t.TempDir()
	issue(t, 1, time.Hour, "hello.example.com", "gone.wadi.localhost").putPair(t, dir, "a")
	issue(t, 2, time.Hour, "hello.wadi.localhost").putPair(t, dir, "b")
	certs := loadCerts(t, dir)
	g, c := newGateway(t, someRoutes())
	addr := serveTLS(t, g.OverTLS(certs), certs)
	for _, tt := range []struct {
		sni, host string
		want      int
	}{
		{"hello.example.com", "hello.example.com", 200},
		{"hello.example.com", "HELLO.example.com:8443", 200},
		{"hello.example.com", "gone.wadi.localhost", 404}, // Of the same certificate.
		{"hello.example.com", "hello.wadi.localhost", 421},
		{"hello.example.com", "nobody.example.com", 421},
		{"hello.wadi.localhost", "hello.example.com", 421},
		{"hello.wadi.localhost", "hello.wadi.localhost", 200},
		{"", "hello.wadi.localhost", 200}, // By address: a load balancer.
		{"", "nobody.example.com", 404},
	} {
		for _, h2 := range []bool{false, true} {
			res := askTLS(t, addr, tt.sni, tt.host, h2 && tt.sni != "")
			if res.StatusCode != tt.want || tt.want == 421 && res.Header.Get("Wadi-Error") != "misdirected" {
				t.Errorf("sni %q, host %q, HTTP/2 %v: got %d %v, want %d", tt.sni, tt.host, h2, res.StatusCode, res.Header, tt.want)
			}
			if proto := map[bool]int{false: 1, true: 2}[h2 && tt.sni != ""]; res.ProtoMajor != proto {
				t.Errorf("got HTTP/%d, want HTTP/%d", res.ProtoMajor, proto)
			}
		}
	}
	if got := c.last.Get("X-Forwarded-Proto"); got != "https" {
		t.Errorf("X-Forwarded-Proto is %q", got)
	}
	res, err := http.Get("http://" + addr + "/") // Plain HTTP at the TLS listener.
	if err != nil || res.StatusCode != 400 {
		t.Errorf("plain: got %v, %v", res, err)
	}
}

func TestToTLS(t *testing.T) {
	g, c := newGateway(t, someRoutes(), "10.0.0.0/8")
	for _, tt := range []struct {
		name, port, method, target, host, peer, proto string
		status                                        int
		location                                      string
	}{
		{name: "plain", target: "/a%2Fb?x=%20y", location: "https://hello.wadi.localhost:8443/a%2Fb?x=%20y"},
		{name: "port of the host", target: "/", host: "Hello.Example.com:8080", location: "https://hello.example.com:8443/"},
		{name: "443", port: "443", target: "/?", location: "https://hello.wadi.localhost/?"},
		{name: "POST", method: http.MethodPost, target: "/", location: "https://hello.wadi.localhost:8443/"},
		{name: "two slashes", target: "//evil.example/x", location: "https://hello.wadi.localhost:8443//evil.example/x"},
		{name: "asterisk", method: http.MethodOptions, target: "*", location: "https://hello.wadi.localhost:8443/"},
		{name: "a claim of the caller", target: "/", proto: "https", location: "https://hello.wadi.localhost:8443/"},
		{name: "a trusted proxy", target: "/", peer: "10.1.2.3:9", proto: "https", status: 200},
		{name: "a trusted proxy without TLS", target: "/", peer: "10.1.2.3:9", proto: "http", location: "https://hello.wadi.localhost:8443/"},
		{name: "authority", target: "/.well-known/acme-challenge/abc", status: 200},
		{name: "unknown", target: "/", host: "evil.example.com", status: 404},
		{name: "mesh only", target: "/", host: "secret.wadi.localhost", status: 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			or := func(s, otherwise string) string {
				if s == "" {
					return otherwise
				}
				return s
			}
			if tt.status == 0 {
				tt.status = http.StatusPermanentRedirect
			}
			r := httptest.NewRequest(or(tt.method, http.MethodGet), "/", nil)
			if u, err := r.URL.Parse(tt.target); err == nil && !strings.HasPrefix(tt.target, "//") {
				r.URL = u
			} else {
				r.URL.Path = tt.target
			}
			if tt.target == "*" {
				r.URL.Path = "*"
			}
			r.Host, r.RemoteAddr = or(tt.host, "hello.wadi.localhost"), or(tt.peer, "192.0.2.1:9")
			if tt.proto != "" {
				r.Header.Set("X-Forwarded-Proto", tt.proto)
			}
			w := httptest.NewRecorder()
			g.RedirectToTLS(or(tt.port, "8443")).ServeHTTP(w, r)
			if got := w.Header().Get("Location"); w.Code != tt.status || got != tt.location {
				t.Errorf("got %d to %q, want %d to %q", w.Code, got, tt.status, tt.location)
			}
		})
	}
	if c.asked["hello-00001"] != 2 {
		t.Errorf("%d requests came through, want 2", c.asked["hello-00001"])
	}
}

// A client that follows the redirect reaches the same service, with method and body.
func TestToTLS_Followed(t *testing.T) {
	dir := t.TempDir()
	issue(t, 1, time.Hour, "hello.wadi.localhost").putPair(t, dir, "a")
	certs := loadCerts(t, dir)
	g, c := newGateway(t, someRoutes())
	c.serve = func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+string(b)+" "+r.Header.Get(wadi.HeaderProxied))
	}
	secure := serveTLS(t, g.OverTLS(certs), certs)
	_, port, _ := net.SplitHostPort(secure)
	plain, _ := serve(t, g.RedirectToTLS(port))
	_, plainPort, _ := net.SplitHostPort(plain)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, p, _ := net.SplitHostPort(addr)
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+p)
		},
	}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Post("http://hello.wadi.localhost:"+plainPort+"/x", "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if string(b) != "POST body " || res.Request.URL.Scheme != "https" {
		t.Errorf("got %q from %s", b, res.Request.URL)
	}
}
