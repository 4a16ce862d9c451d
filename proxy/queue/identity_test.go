package queue_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

const (
	clientCert = "X-Forwarded-Client-Cert"
	idOf       = "spiffe://d473.consul/ns/default/dc/dc1/svc/"
	byEnvoy    = "By=" + idOf + "hello;Hash=ab;Subject=\"\";URI=" + idOf
)

// certsSeen runs an instance, and returns how to call it and what its app sees of the
// caller's certificate.
func certsSeen(t *testing.T, environ ...string) (s *sidecar, see func(header ...string) []string) {
	var got http.Header
	s = start(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header }, environ...)
	return s, func(header ...string) []string {
		t.Helper()
		if a := s.get(s.Addr(), "/", header...); a.StatusCode != 200 {
			t.Fatalf("status %d", a.StatusCode)
		}
		return append(got[clientCert], got["X_forwarded_client_cert"]...)
	}
}

// proxied waits until n requests have begun, and returns how many of them count as an
// activator's.
func (s *sidecar) proxied(n int) (of int) {
	s.t.Helper()
	eventually(s.t, "counted", func() bool {
		st, _ := s.stats("since=0")
		all := 0
		of = 0
		for _, sample := range st.Samples {
			all, of = all+int(sample.Begun), of+int(sample.BegunProxied)
		}
		return all == n
	})
	return of
}

func TestIdentity_BehindEnvoy(t *testing.T) {
	envoy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer envoy.Close()
	s, see := certsSeen(t, "WADI_ENVOY="+envoy.Addr().String())
	const passedOn = "Hash=cd;URI=" + idOf + "web"
	all := []struct {
		what    string
		header  []string
		want    []string
		proxied int // 1: it counts as an activator's.
	}{
		{"nothing", nil, nil, 0},
		{"a claim", []string{wadi.HeaderProxied, "1"}, nil, 0},
		{"a caller", []string{clientCert, byEnvoy + "web"}, []string{byEnvoy + "web"}, 0},
		{"a caller's claim", []string{wadi.HeaderProxied, "1", clientCert, byEnvoy + "wadi-activator," + byEnvoy + "web"}, []string{byEnvoy + "web"}, 0},
		{"what can't be read", []string{wadi.HeaderProxied, "1", clientCert, `Subject=",` + byEnvoy + "wadi-activator"}, nil, 0},
		{"an alias", []string{"X_Forwarded_Client_Cert", "forged", clientCert, byEnvoy + "web"}, []string{byEnvoy + "web"}, 0},
		{"an activator, for the gateway", []string{wadi.HeaderProxied, "1", clientCert, byEnvoy + "wadi-activator"}, nil, 1},
		{"an activator, for the mesh", []string{wadi.HeaderProxied, "1", clientCert, passedOn + "," + byEnvoy + "wadi-activator"}, []string{"By=" + idOf + "hello;" + passedOn}, 1},
		{"an activator that does not count it", []string{clientCert, byEnvoy + "wadi-activator"}, nil, 0},
	}
	want := 0
	for _, tt := range all {
		want += tt.proxied
		if diff := cmp.Diff(tt.want, see(tt.header...)); diff != "" {
			t.Errorf("%s: the app saw (-want +got):\n%s", tt.what, diff)
		}
	}
	if got := s.proxied(len(all)); got != want {
		t.Errorf("%d are taken for an activator's, want %d", got, want)
	}
}

func TestIdentity_WithoutTheMesh(t *testing.T) {
	const proof = wadi.Proof("only agents know it")
	activator := []string{clientCert, byEnvoy + "wadi-activator"}
	for _, environ := range [][]string{nil, {"WADI_PROOF_SHA256=" + proof.Digest()}} {
		s, see := certsSeen(t, environ...)
		claims := []string{"", "1", proof.Digest(), string(proof) + "x", string(proof)}
		for _, claim := range claims {
			if got := see(append(activator, wadi.HeaderProxied, claim)...); len(got) > 0 {
				t.Errorf("the app saw the certificate %q, which no Envoy has verified", got)
			}
		}
		if got := s.proxied(len(claims)); got != len(environ) {
			t.Errorf("%v: %d are taken for an activator's, want %d", environ, got, len(environ))
		}
	}
}

// The app can tell a copy of a request, which only an activator can have made.
func TestIdentity_Copies(t *testing.T) {
	const proof = wadi.Proof("only agents know it")
	var got []string
	s := start(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header[wadi.HeaderMirror] }, "WADI_PROOF_SHA256="+proof.Digest())
	for _, tt := range []struct {
		what   string
		header []string
		want   []string
	}{
		{"an activator's", []string{wadi.HeaderProxied, string(proof), wadi.HeaderMirror, "1"}, []string{"1"}},
		{"an activator's, no copy", []string{wadi.HeaderProxied, string(proof)}, nil},
		{"a caller's claim", []string{wadi.HeaderMirror, "1"}, nil},
		{"a caller's claim with a wrong proof", []string{wadi.HeaderProxied, "1", wadi.HeaderMirror, "1"}, nil},
	} {
		if a := s.get(s.Addr(), "/", tt.header...); a.StatusCode != 200 {
			t.Fatalf("%s: status %d", tt.what, a.StatusCode)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: the app saw (-want +got):\n%s", tt.what, diff)
		}
	}
}
