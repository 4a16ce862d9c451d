package registry_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wadi-run/wadi/internal/registry"
)

var (
	own        = registry.Credentials{Username: "wadi", Password: secret}
	ownMachine = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
)

// to redirects all requests.
func to(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// Redirects to where a registry may not lead are refused before anything is dialled.
func TestAttack_Redirects(t *testing.T) {
	victim := serve(t, manifest)
	_, port, _ := net.SplitHostPort(victim.host)
	for _, location := range []string{
		victim.URL + "/secret", "http://localhost:" + port + "/", "http://[::ffff:127.0.0.1]:" + port + "/", "http://0.0.0.0:" + port + "/", "http://[::]:" + port,
		"https://127.1:" + port, "http://0x7f000001:" + port, "https://169.254.169.254/latest/meta-data/", "http://169.254.169.254/latest/meta-data/",
		"https://[fd00:ec2::254]/", "https://[::ffff:a9fe:a9fe]/", "https://[64:ff9b::a9fe:a9fe]/", "https://10.0.0.1/", "https://192.168.0.1:8200/",
		"http://example.com/", "file:///etc/passwd", "gopher://127.0.0.1:70/", "ftp://10.0.0.1/", "unix:///run/docker.sock",
	} {
		f := serve(t, to(location))
		r, err := registry.New(registry.Options{DNS: dns(t, func(string, int) netip.Addr { return netip.Addr{} })}) // 127.1 is a name.
		if err != nil {
			t.Fatal(err)
		}
		_, err = resolve(t, r, f.image(), own)
		if !errors.Is(err, registry.ErrRefusedAddress) && !errors.Is(err, registry.ErrMalformed) && !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("%s: %v", location, err)
		} else {
			wantKind(t, err, errors.Unwrap(err), f.host)
		}
	}
	if got := victim.requests(); len(got) > 0 {
		t.Errorf("another port of this machine got %d requests", len(got))
	}
}

// What an operator allows is followed, and gets no credentials.
func TestAttack_RedirectGetsNoCredentials(t *testing.T) {
	other := serve(t, manifest)
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		to("http://user:pass@"+other.host+"/m")(w, r)
	})
	got, err := resolve(t, resolver(t, registry.Settings{AllowNetworks: ownMachine}), f.image(), own)
	if got != digest || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, r := range other.requests() {
		if r.Header.Get("Authorization") != "" || strings.Contains(fmt.Sprint(r.Header), secret) {
			t.Errorf("another host got %v", r.Header)
		}
	}
	if len(other.requests()) == 0 {
		t.Error("the redirect was not followed")
	}
}

// A challenge of the host that a redirect leads to is not answered.
func TestAttack_ForeignChallenge(t *testing.T) {
	for _, challenge := range []string{`Basic realm="x"`, `Bearer realm="%s/token"`} {
		var other *fake
		other = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(challenge, "%s") {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(challenge, other.URL))
			} else {
				w.Header().Set("WWW-Authenticate", challenge)
			}
			w.WriteHeader(http.StatusUnauthorized)
		})
		f := serve(t, to(other.URL))
		_, err := resolve(t, resolver(t, registry.Settings{AllowNetworks: ownMachine}), f.image(), own)
		wantKind(t, err, registry.ErrUnauthorized)
		for _, r := range other.requests() {
			if r.Header.Get("Authorization") != "" {
				t.Errorf("it got %v", r.Header)
			}
		}
	}
}

// A name of DNS that leads to this machine is not asked, and one that changes is judged anew.
func TestAttack_Rebinding(t *testing.T) {
	victim := serve(t, manifest)
	_, port, _ := net.SplitHostPort(victim.host)
	image := "registry.test:" + port + "/team/web:1"
	insecure := []string{"registry.test:" + port}

	r, err := registry.New(registry.Options{Settings: registry.Settings{InsecureRegistries: insecure}, DNS: dns(t, always("127.0.0.1"))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = resolve(t, r, image, own)
	wantKind(t, err, registry.ErrRefusedAddress, "registry.test", "images.allow_networks")
	if len(victim.requests()) > 0 {
		t.Fatal("it was asked")
	}

	// The first address is allowed, each later one is another.
	var conns atomic.Int32
	turn := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conns.Add(1)
		w.Header().Set("Connection", "close")
		to("/again")(w, r)
	})
	_, port, _ = net.SplitHostPort(turn.host)
	insecure[0] = "registry.test:" + port
	r, err = registry.New(registry.Options{
		Settings: registry.Settings{InsecureRegistries: insecure, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
		DNS: dns(t, func(_ string, n int) netip.Addr {
			if n < 2 { // HTTPS is tried first.
				return netip.MustParseAddr("127.0.0.1")
			}
			return netip.MustParseAddr("127.0.0.2")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = resolve(t, r, "registry.test:"+port+"/team/web:1", own)
	wantKind(t, err, registry.ErrRefusedAddress, "registry.test")
	if conns.Load() != 1 {
		t.Errorf("asked %d times", conns.Load())
	}
}

// Without TLS a registry elsewhere is not asked at all, nor is one whose certificate is not good.
func TestAttack_NoPlainHTTP(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:9")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	plain := serve(t, manifest)
	_, port, _ := net.SplitHostPort(plain.host)
	r, err := registry.New(registry.Options{Settings: registry.Settings{AllowNetworks: ownMachine}, DNS: dns(t, always("127.0.0.1"))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = resolve(t, r, "registry.test:"+port+"/team/web:1", own)
	wantKind(t, err, registry.ErrUnavailable, "speaks no TLS", "images.insecure_registries")
	if len(plain.requests()) > 0 {
		t.Error("it was asked by http")
	}
	withTLS := serveTLS(t, manifest)
	_, port, _ = net.SplitHostPort(withTLS.host)
	_, err = resolve(t, r, "example.com:"+port+"/team/web:1", own)
	wantKind(t, err, registry.ErrUnavailable, "unknown authority", "images.ca_file")
	if len(withTLS.requests()) > 0 {
		t.Error("it was asked without a good certificate")
	}
}

// What a registry says is shown as one short line, and never with what it was sent.
func TestAttack_Words(t *testing.T) {
	for name, body := range map[string]string{
		"echo":     `{"errors": [{"code": "DENIED", "message": "you sent %s"}]}`,
		"terminal": `{"errors": [{"code": "TOOMANYREQUESTS", "message": "\u001b[2J\u0007a\nb\u202e` + strings.Repeat("long ", 1000) + `"}]}`,
		"code":     `{"errors": [{"code": "<script>\u001b", "message": "x"}]}`,
		"html":     `<html>` + strings.Repeat("y", 5000),
		"detail":   `{"errors": [{"code": "UNKNOWN", "message": "m", "detail": "` + strings.Repeat("z", 1000) + `"}]}`,
	} {
		for _, status := range []int{400, 404, 409, 418, 429, 500} {
			f := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				if r.Method == http.MethodHead && status < 429 {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				w.WriteHeader(status)
				_, p, _ := r.BasicAuth()
				_, _ = w.Write([]byte(strings.ReplaceAll(body, "%s", p+r.Header.Get("Authorization"))))
			})
			_, err := resolve(t, resolver(t, registry.Settings{}), f.image(), own)
			if err == nil {
				t.Fatalf("%s, %d: no error", name, status)
			}
			wantKind(t, err, errors.Unwrap(err), f.host)
			for _, bad := range []string{"<html>", "<script>", "zzzz", "\u202e", "Basic "} {
				if strings.Contains(err.Error(), bad) {
					t.Errorf("%s, %d: the error has %q: %v", name, status, bad, err)
				}
			}
		}
	}
}

// Digests that are none, or of another kind, are not believed.
func TestAttack_Digests(t *testing.T) {
	for _, header := range []string{"sha256:abc", "sha512:" + strings.Repeat("a", 128), "md5:" + strings.Repeat("a", 32), "sha256:" + strings.Repeat("Z", 64), "nonsense", "sha256:" + strings.Repeat("a", 64) + "@x"} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			w.Header().Set("Docker-Content-Digest", header)
			w.Header().Set("Content-Length", "2")
			_, _ = w.Write([]byte("{}"))
		})
		got, err := resolve(t, resolver(t, registry.Settings{}), f.image(), registry.Credentials{})
		if want := "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"; err == nil && got != want {
			t.Errorf("%q gives %q", header, got) // Of the body of a GET at most.
		}
	}
}
