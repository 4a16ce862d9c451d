package activator_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/clientcert"
)

// An instance in the mesh gets the verified identity of a mesh caller, and never a claimed
// one. Other instances get none.
func TestForward_CallersCertificate(t *testing.T) {
	id, err := url.Parse("spiffe://d473.consul/ns/default/dc/dc1/svc/web")
	if err != nil {
		t.Fatal(err)
	}
	chain := []*x509.Certificate{{Raw: []byte("web"), URIs: []*url.URL{id}}}
	for name, tt := range map[string]struct {
		mesh bool // The caller's way.
		mode wadi.MeshMode
		want string
	}{
		"mesh to mesh":     {true, wadi.MeshEnvoy, clientcert.Format(chain)},
		"mesh to none":     {true, wadi.MeshOff, ""},
		"gateway to mesh":  {false, wadi.MeshEnvoy, ""},
		"gateway to none":  {false, wadi.MeshOff, ""},
		"gateway over TLS": {false, wadi.MeshEnvoy, ""},
	} {
		t.Run(name, func(t *testing.T) {
			set := settings()
			set.Mesh = tt.mode
			g := newRig(t, set)
			b := newBackend(t, "alloc-1")
			g.place(b.ep)
			next := g.srv.Config.Handler
			if tt.mesh {
				next = g.act.MeshHandler(&gate{caller: "web"})
			}
			g.srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tt.mesh || name == "gateway over TLS" {
					r.TLS = &tls.ConnectionState{PeerCertificates: chain}
				}
				next.ServeHTTP(w, r)
			})
			r := g.request(t, http.MethodGet, "/", nil)
			r.Header.Set(wadi.HeaderService, service)
			r.Header.Set(wadi.HeaderRevision, revision)
			r.Header[clientcert.Header] = []string{"URI=forged", "URI=forged"}
			r.Header["X_Forwarded-client_cert"] = []string{"forged"}
			if got := g.do(r); got.status != 200 {
				t.Fatalf("got %v", got)
			}
			h := b.last().Header
			if got := strings.Join(h[clientcert.Header], ","); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
			for name, values := range h {
				if strings.Contains(strings.Join(values, ""), "forged") {
					t.Errorf("told %s: %q", name, values)
				}
			}
		})
	}
}

// Where the mesh can't identify the activator, the proof in the route does.
func TestForward_Proof(t *testing.T) {
	set := settings()
	set.Mesh, set.Proof = wadi.MeshOff, "only agents know it"
	g := newRig(t, set)
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	r := g.request(t, http.MethodGet, "/", nil)
	r.Header.Set(wadi.HeaderProxied, "1")
	if got := g.do(r); got.status != 200 {
		t.Fatalf("got %v", got)
	}
	if got := b.last().Header[wadi.HeaderProxied]; len(got) != 1 || got[0] != "only agents know it" {
		t.Errorf("sent %q", got)
	}
}

// What a queue-proxy answers itself says why; the rest of Wadi's stays between the two.
func TestForward_PassesOnWhyAQueueProxyRefuses(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.app = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(wadi.HeaderError, "app_failed")
		w.Header().Set("Wadi-Whatever", "x")
		w.WriteHeader(http.StatusBadGateway)
	}
	g.place(b.ep)
	got := g.get(t)
	if got.status != 502 || got.header.Get(wadi.HeaderError) != "app_failed" || got.header.Get("Wadi-Whatever") != "" {
		t.Errorf("got %v", got)
	}
}
