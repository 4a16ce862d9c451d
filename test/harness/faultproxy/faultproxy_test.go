package faultproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness/faultproxy"
)

// answer is a request's status, index and body, or an error.
func answer(t *testing.T, p *faultproxy.Proxy, method, path string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.Addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s %s", res.StatusCode, res.Header.Get("X-Consul-Index"), strings.TrimSpace(string(b))), err
}

// start runs a proxy in front of a small Consul, whose blocking queries last until the
// test's end.
func start(t *testing.T) *faultproxy.Proxy {
	t.Helper()
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") != "" {
			select {
			case <-end:
			case <-r.Context().Done():
			}
			return
		}
		w.Header().Set("X-Consul-Index", "7")
		switch r.URL.Path {
		case "/v1/catalog/services":
			fmt.Fprint(w, `{"wadi": []}`)
		default:
			fmt.Fprint(w, `[{"Key": "wadi/x"}]`)
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(end) })
	p, err := faultproxy.Start(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestFaults(t *testing.T) {
	const well = `200 7 [{"Key": "wadi/x"}]`
	for _, tt := range []struct {
		name         string
		fault        faultproxy.Fault
		method, path string
		want         string // Empty: an error.
	}{
		{"refused", faultproxy.Fault{Status: 500, Body: "no"}, "PUT", "/v1/kv/x", "500  no"},
		{"only what fits", faultproxy.Fault{Match: faultproxy.Writes, Status: 500}, "GET", "/v1/kv/x", well},
		{"only under a path", faultproxy.Fault{Match: faultproxy.All(faultproxy.Writes, faultproxy.Under("/v1/txn")), Drop: true}, "PUT", "/v1/kv/x", well},
		{"dropped", faultproxy.Fault{Drop: true}, "GET", "/v1/kv/x", ""},
		{"cut", faultproxy.Fault{CutAfter: 5}, "GET", "/v1/kv/x", ""},
		{"no keys", faultproxy.Fault{Empty: true}, "GET", "/v1/kv/x?recurse", "404 7"},
		{"no list", faultproxy.Fault{Empty: true}, "GET", "/v1/health/service/x", "200 7 []"},
		{"no object", faultproxy.Fault{Empty: true}, "GET", "/v1/catalog/services", "200 7 {}"},
		{"no list, though asked for changes", faultproxy.Fault{Empty: true}, "GET", "/v1/health/service/x?index=7&wait=5m", "200 7 []"},
		{"an old index", faultproxy.Fault{Index: 3}, "GET", "/v1/kv/x", `200 3 [{"Key": "wadi/x"}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t)
			p.Set(tt.fault)
			got, err := answer(t, p, tt.method, tt.path)
			if tt.want == "" && err == nil || tt.want != "" && (err != nil || strings.TrimSpace(got) != tt.want) {
				t.Errorf("got %q, error %v; want %q", got, err, tt.want)
			}
			if met := p.Met(); (met == 1) != (tt.want != well) {
				t.Errorf("%d requests have met the fault", met)
			}
			p.Set()
			if got, err := answer(t, p, "GET", "/v1/kv/x"); err != nil || got != well {
				t.Errorf("well again: got %q, error %v", got, err)
			}
		})
	}
}

// A fault that is used up passes; one that hangs ends with the next Set, and so does a
// blocking query that the next fault fits.
func TestSet(t *testing.T) {
	p := start(t)
	p.Set(faultproxy.Fault{Status: 503, Times: 1})
	if got, _ := answer(t, p, "GET", "/v1/kv/x"); !strings.HasPrefix(got, "503") {
		t.Errorf("got %q, want 503", got)
	}
	if got, _ := answer(t, p, "GET", "/v1/kv/x"); !strings.HasPrefix(got, "200") {
		t.Errorf("got %q, want 200", got)
	}
	for _, tt := range []struct {
		name   string
		path   string
		before []faultproxy.Fault
		met    int
	}{
		{"hangs", "/v1/kv/x", []faultproxy.Fault{{Hang: true}}, 1},
		{"blocks", "/v1/kv/x?index=7", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.Set(tt.before...)
			ended := make(chan error, 1)
			go func() {
				_, err := answer(t, p, "GET", tt.path)
				ended <- err
			}()
			for p.Running() != 1 || p.Met() != tt.met {
				select {
				case err := <-ended:
					t.Fatalf("the request has ended: %v", err)
				case <-time.After(time.Millisecond):
				}
			}
			p.Set(faultproxy.Fault{Drop: true})
			if err := <-ended; err == nil {
				t.Error("it was answered, want it cut")
			}
		})
	}
}
