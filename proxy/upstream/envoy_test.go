package upstream_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// What an Envoy in front of an instance says itself, word for word.
const (
	envoyRefused = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused"
	envoyCut     = "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
	envoyOther   = "upstream connect error or disconnect/reset before headers. reset reason: protocol error"
)

// An answer of the instance's Envoy is the failure that it describes. The instance's own,
// whatever it says, is an answer.
func TestForward_EnvoysOwnAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		method, text string
		status       int
		header       map[string]string
		direct       bool // There is no Envoy.
		unseen       bool
		retryable    bool
		answered     bool
	}{
		"refused, GET":             {method: "GET", text: envoyRefused, status: 503, unseen: true, retryable: true},
		"refused, POST":            {method: "POST", text: envoyRefused, status: 503, unseen: true, retryable: true},
		"cut off, GET":             {method: "GET", text: envoyCut, status: 503, retryable: true},
		"cut off, POST":            {method: "POST", text: envoyCut, status: 503},
		"something else":           {method: "GET", text: envoyOther, status: 503, answered: true},
		"another status":           {method: "GET", text: envoyRefused, status: 502, answered: true},
		"HEAD":                     {method: "HEAD", text: envoyRefused, status: 503, answered: true},
		"the app's, with the text": {method: "GET", text: envoyRefused, status: 503, header: map[string]string{"X-Envoy-Upstream-Service-Time": "0"}, answered: true},
		"the app's, nothing":       {method: "GET", status: 503, answered: true},
		"without an Envoy":         {method: "GET", text: envoyRefused, status: 503, direct: true, answered: true},
		"long":                     {method: "GET", text: envoyRefused + strings.Repeat("x", 2000), status: 503, answered: true},
	} {
		for _, p := range []wadi.Protocol{wadi.HTTP1, wadi.H2C} {
			t.Run(string(p)+", "+name, func(t *testing.T) {
				peer := proxytest.Serve(t, func(w http.ResponseWriter, _ *http.Request) {
					for k, v := range tt.header {
						w.Header().Set(k, v)
					}
					w.WriteHeader(tt.status)
					io.WriteString(w, tt.text)
				})
				wantEnvoys(t, upstream.Config{Addr: peer, Protocol: p, Envoy: !tt.direct}, tt.method, func(e *upstream.ForwardError, retryable bool, res *http.Response, body string) {
					switch {
					case tt.answered && (e != nil || res.StatusCode != tt.status || tt.method != "HEAD" && body != tt.text):
						t.Errorf("%v, status %d %q, want the answer passed on", e, res.StatusCode, body)
					case !tt.answered && (e == nil || e.Unseen() != tt.unseen || retryable != tt.retryable):
						t.Errorf("got %+v, retryable %v, status %d, want unseen %v, retryable %v", e, retryable, res.StatusCode, tt.unseen, tt.retryable)
					}
				})
			})
		}
	}
}

// To a gRPC call an Envoy says it in trailers only.
func TestForward_EnvoysOwnAnswers_GRPC(t *testing.T) {
	peer := proxytest.Serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "14")
		w.Header().Set("Grpc-Message", envoyRefused)
	})
	wantEnvoys(t, upstream.Config{Addr: peer, Protocol: wadi.GRPC, Envoy: true}, "POST", func(e *upstream.ForwardError, _ bool, res *http.Response, _ string) {
		if e == nil || !e.Unseen() {
			t.Errorf("got %+v, status %d, want a call that nobody has seen", e, res.StatusCode)
		}
	})
}

func wantEnvoys(t *testing.T, cfg upstream.Config, method string, check func(e *upstream.ForwardError, retryable bool, res *http.Response, body string)) {
	t.Helper()
	var got *upstream.ForwardError
	var retryable bool
	addr := front(t, cfg, func(w http.ResponseWriter, r *http.Request, e *upstream.ForwardError) {
		got, retryable = e, e.Retryable(r)
		w.WriteHeader(599)
	})
	req, err := http.NewRequest(method, "http://"+addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := proxytest.Client(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	check(got, retryable, res, string(body))
}
