package registry_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-run/wadi/internal/registry"
)

// Where HEAD does not do, the digest is that of what GET answers.
func TestResolve_ByGet(t *testing.T) {
	body := `{"schemaVersion": 2}`
	want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(body)))
	for name, head := range map[string]http.HandlerFunc{
		"no HEAD": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"404":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"no digest": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Content-Length", "20")
		},
		"no type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Header().Set("Docker-Content-Digest", digest)
		},
	} {
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				head(w, r)
				return
			}
			if !strings.Contains(r.Header.Get("Accept"), "application/vnd.oci.image.index.v1+json") {
				w.WriteHeader(http.StatusNotAcceptable)
			}
			_, _ = w.Write([]byte(body))
		})
		if got, err := resolve(t, resolver(t, registry.Settings{}), f.image(), registry.Credentials{}); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// failing answers n requests with a status, and then as it should.
func failing(n int32, status int, header ...string) (http.HandlerFunc, *atomic.Int32) {
	var asked atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= n {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			return
		}
		manifest(w, r)
	}, &asked
}

// A registry that wants to be asked later is, if there is time; else the error has the time.
func TestResolve_TooManyRequests(t *testing.T) {
	h, asked := failing(1, http.StatusTooManyRequests, "Retry-After", "1")
	f := serve(t, h)
	if got, err := resolve(t, resolver(t, registry.Settings{Timeout: time.Minute}), f.image(), registry.Credentials{}); got != digest || asked.Load() != 2 {
		t.Errorf("got %q, %v after %d requests", got, err, asked.Load())
	}
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for header, again := range map[string]bool{"3600": true, at.Format(http.TimeFormat): true, "": false, "-5": false, "soon": false, "99999999999999": false} {
		h, asked := failing(9, http.StatusTooManyRequests, "Retry-After", header)
		f := serve(t, h)
		_, err := resolve(t, resolver(t, registry.Settings{}), f.image(), registry.Credentials{})
		wantKind(t, err, registry.ErrTooManyRequests, f.host, "images.docker_config")
		var e *registry.Error
		if !errors.As(err, &e) || e.Again.IsZero() == again || again && e.Again.Sub(at).Abs() > 10*time.Minute || again != strings.Contains(err.Error(), "UTC") {
			t.Errorf("Retry-After %q: again at %v: %v", header, e.Again, err)
		}
		if asked.Load() != 1 {
			t.Errorf("Retry-After %q: asked %d times", header, asked.Load())
		}
	}
	h, asked = failing(100, http.StatusTooManyRequests, "Retry-After", "0")
	_, err := resolve(t, resolver(t, registry.Settings{Timeout: time.Minute}), serve(t, h).image(), registry.Credentials{})
	if wantKind(t, err, registry.ErrTooManyRequests); asked.Load() != 3 {
		t.Errorf("asked %d times by one that always wants to be asked again", asked.Load())
	}
}

// Passing trouble is asked about again, and what does not pass is not.
func TestResolve_Again(t *testing.T) {
	for status, want := range map[int]int32{500: 3, 503: 3, 400: 2, 404: 2, 403: 1, 418: 1} { // With a GET where that may tell more.
		h, asked := failing(100, status)
		if _, err := resolve(t, resolver(t, registry.Settings{Timeout: time.Minute}), serve(t, h).image(), registry.Credentials{}); err == nil || asked.Load() != want {
			t.Errorf("%d: %v after %d requests, want %d", status, err, asked.Load(), want)
		}
	}
	h, _ := failing(2, http.StatusBadGateway)
	if got, err := resolve(t, resolver(t, registry.Settings{Timeout: time.Minute}), serve(t, h).image(), registry.Credentials{}); got != digest {
		t.Errorf("got %q, %v", got, err)
	}
}

// Each way of being away has its words.
func TestResolve_Away(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	r, err := registry.New(registry.Options{Settings: registry.Settings{AllowNetworks: ownMachine}, DNS: dns(t, func(name string, _ int) (none netip.Addr) {
		if name == "here.test" {
			return netip.MustParseAddr("127.0.0.1")
		}
		return none
	})})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(gone.Addr().String())
	for image, words := range map[string]string{
		gone.Addr().String() + "/a/b": "the connection is refused",
		"here.test:" + port + "/a/b":  "the connection is refused",
		"nowhere.test:5000/a/b":       "its name is unknown",
	} {
		_, err := resolve(t, r, image, registry.Credentials{})
		wantKind(t, err, registry.ErrUnavailable, words)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	r, err := registry.New(registry.Options{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	f := guarded(t)
	for _, as := range []registry.Credentials{own, own, {}} {
		_, _ = resolve(t, r, f.image(), as)
	}
	_, _ = resolve(t, r, "a b", own)
	want := `
# HELP wadi_images_resolved_total Images whose digest was asked for, by result: ok, cancelled, or the kind of the error.
# TYPE wadi_images_resolved_total counter
wadi_images_resolved_total{result="bad_name"} 1
wadi_images_resolved_total{result="cancelled"} 0
wadi_images_resolved_total{result="credentials"} 0
wadi_images_resolved_total{result="local"} 0
wadi_images_resolved_total{result="malformed"} 0
wadi_images_resolved_total{result="not_found"} 0
wadi_images_resolved_total{result="ok"} 2
wadi_images_resolved_total{result="refused_address"} 0
wadi_images_resolved_total{result="too_many_requests"} 0
wadi_images_resolved_total{result="unauthorized"} 1
wadi_images_resolved_total{result="unavailable"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wadi_images_resolved_total"); err != nil {
		t.Error(err)
	}
}

// New settings are in force for what is asked from then on.
func TestPrepare(t *testing.T) {
	f := guarded(t)
	r := resolver(t, registry.Settings{})
	apply, err := r.Prepare(registry.Settings{DockerConfig: dockerFile(t, `{"auths": {"`+f.host+`": {"auth": "`+basic(secret)+`"}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resolve(t, r, f.image(), registry.Credentials{}); err == nil {
		t.Error("they are in force before they are applied")
	}
	apply()
	if d, err := resolve(t, r, f.image(), registry.Credentials{}); d != digest {
		t.Errorf("got %q, %v", d, err)
	}
	if _, err := r.Prepare(registry.Settings{CAFile: "/nowhere"}); err == nil {
		t.Error("a file that is missing is accepted")
	}
}
