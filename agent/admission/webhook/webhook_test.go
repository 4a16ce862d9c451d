package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/webhook"
)

// question is what the tests ask.
func question() webhook.Question {
	return webhook.Question{
		Service:  json.RawMessage(`{"name":"shop","meta":{},"scale":{"min":0}}`),
		Instance: json.RawMessage(`{"Tasks":[{"Name":"web"}]}`),
		User:     "alice",
	}
}

// serve returns a webhook that answers with h.
func serve(t *testing.T, c webhook.Config, h http.HandlerFunc) *webhook.Webhook {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return open(t, c, s.URL+"/admit?key=secret")
}

func open(t *testing.T, c webhook.Config, url string) *webhook.Webhook {
	t.Helper()
	c.Name, c.URL = "policy", url
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	w, err := webhook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// says is a handler with one answer.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func TestAsk_Request(t *testing.T) {
	var got webhook.Question
	var header http.Header
	w := serve(t, webhook.Config{}, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, `{"allowed": true, "message": "fine\u001b[31m\nby me", "more": 1}`)
	})
	a, err := w.Ask(t.Context(), question())
	if err != nil || !a.Allowed || a.Changed || a.Message != "fine[31m by me" {
		t.Errorf("got %+v, %v", a, err)
	}
	if diff := cmp.Diff(question(), got); diff != "" {
		t.Errorf("question (-want +got):\n%s", diff)
	}
	header.Del("Content-Length")
	want := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"wadi"}}
	if diff := cmp.Diff(want, header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestAsk_Answers(t *testing.T) {
	const add = `[{"op": "add", "path": "/service/meta/team", "value": "a<b"}, {"op": "add", "path": "/instance/Tasks/-", "value": {"Name": "log"}}]`
	for _, tt := range []struct {
		name, answer string
		mutate       bool
		want         webhook.Answer
		failure      string // Empty: none.
	}{
		{name: "allowed", answer: `{"allowed": true}`, want: webhook.Answer{Allowed: true}},
		{name: "refused", answer: `{"allowed": false, "message": "no"}`, want: webhook.Answer{Message: "no"}},
		{name: "long message", answer: fmt.Sprintf(`{"allowed": false, "message": %q}`, strings.Repeat("x", 600)), want: webhook.Answer{Message: strings.Repeat("x", 499) + "…"}},
		{name: "refused with a patch", answer: `{"allowed": false, "patch": ` + add + `}`, mutate: true},
		{name: "no patch", answer: `{"allowed": true, "patch": null}`, want: webhook.Answer{Allowed: true}},
		{name: "empty patch", answer: `{"allowed": true, "patch": []}`, want: webhook.Answer{Allowed: true}},
		{name: "empty patch, as Jackson prints it", answer: `{"allowed": true, "patch": [ ]}`, want: webhook.Answer{Allowed: true}},
		{name: "empty patch of a mutating webhook", answer: "{\"allowed\": true, \"patch\": [\n]}", mutate: true, want: webhook.Answer{Allowed: true}},
		{name: "patch that changes nothing", answer: `{"allowed": true, "patch": [{"op": "replace", "path": "/service/name", "value": "shop"}]}`, mutate: true, want: webhook.Answer{Allowed: true}},
		{name: "patch", answer: `{"allowed": true, "patch": ` + add + `}`, mutate: true, want: webhook.Answer{
			Allowed: true, Changed: true,
			Service:  json.RawMessage(`{"name":"shop","meta":{"team":"a<b"},"scale":{"min":0}}`),
			Instance: json.RawMessage(`{"Tasks":[{"Name":"web"},{"Name":"log"}]}`),
		}},
		{name: "patch of a judge", answer: `{"allowed": true, "patch": ` + add + `}`, failure: `kind is "validate"`},
		{name: "not allowed at all", answer: `{}`, failure: `lacks "allowed"`},
		{name: "null", answer: `null`, failure: `lacks "allowed"`},
		{name: "text", answer: `true`, failure: "not the JSON"},
		{name: "wrong type", answer: `{"allowed": "true"}`, failure: "not the JSON"},
		{name: "two answers", answer: `{"allowed": true} {"allowed": false}`, failure: "not the JSON"},
		{name: "nothing", answer: ``, failure: "not the JSON"},
		{name: "large", answer: `{"allowed": true, "message": "` + strings.Repeat(" ", webhook.MaxAnswer) + `"}`, failure: "more than 1048576 bytes"},
		{name: "no list", answer: `{"allowed": true, "patch": {"op": "add"}}`, mutate: true, failure: "no JSON Patch"},
		{name: "base64, as Kubernetes has it", answer: `{"allowed": true, "patch": "W10="}`, mutate: true, failure: "no JSON Patch"},
		{name: "elsewhere", answer: `{"allowed": true, "patch": [{"op": "replace", "path": "/user", "value": "root"}]}`, mutate: true, failure: `"/user" is not below`},
		{name: "from elsewhere", answer: `{"allowed": true, "patch": [{"op": "copy", "from": "/user", "path": "/service/name"}]}`, mutate: true, failure: `"/user" is not below`},
		{name: "whole document", answer: `{"allowed": true, "patch": [{"op": "replace", "path": "", "value": {}}]}`, mutate: true, failure: `"" is not below`},
		{name: "a name that begins so", answer: `{"allowed": true, "patch": [{"op": "add", "path": "/services", "value": 1}]}`, mutate: true, failure: "is not below"},
		{name: "unknown operation", answer: `{"allowed": true, "patch": [{"op": "append", "path": "/service/x", "value": 1}]}`, mutate: true, failure: "no JSON Patch"},
		{name: "no path", answer: `{"allowed": true, "patch": [{"op": "add", "value": 1}]}`, mutate: true, failure: "no JSON Patch"},
		{name: "null operation", answer: `{"allowed": true, "patch": [null]}`, mutate: true, failure: "no JSON Patch"},
		{name: "not there", answer: `{"allowed": true, "patch": [{"op": "remove", "path": "/service/meta/team"}]}`, mutate: true, failure: "can't be applied"},
		{name: "an index from the end", answer: `{"allowed": true, "patch": [{"op": "remove", "path": "/instance/Tasks/-1"}]}`, mutate: true, failure: "can't be applied"},
		{name: "test fails", answer: `{"allowed": true, "patch": [{"op": "test", "path": "/service/name", "value": "other"}]}`, mutate: true, failure: "can't be applied"},
		{name: "service removed", answer: `{"allowed": true, "patch": [{"op": "remove", "path": "/service"}]}`, mutate: true, failure: "takes the service"},
		{name: "many operations", answer: `{"allowed": true, "patch": [` + strings.Repeat(`{"op": "test", "path": "/service/name", "value": "shop"},`, 256) + `{"op": "remove", "path": "/service/meta"}]}`, mutate: true, failure: "257 operations"},
		{name: "copies of copies", answer: `{"allowed": true, "patch": [{"op": "add", "path": "/service/x", "value": "` + strings.Repeat("x", 60_000) + `"}` + strings.Repeat(`,{"op": "copy", "from": "/service", "path": "/service/y"}`, 9) + `]}`, mutate: true, failure: "can't be applied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := serve(t, webhook.Config{Mutate: tt.mutate}, says(tt.answer))
			got, err := w.Ask(t.Context(), question())
			if tt.failure != "" {
				wantFailure(t, err, tt.failure)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.Service == nil {
				tt.want.Service, tt.want.Instance = question().Service, question().Instance
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A large service is not made larger without bound.
func TestAsk_LargeResult(t *testing.T) {
	q := question()
	q.Service = json.RawMessage(`{"name": "` + strings.Repeat("x", 4<<20-2000) + `"}`)
	for size, good := range map[int]bool{1000: true, 3000: false} {
		a, err := webhook.Read(q, []byte(`{"allowed": true, "patch": [{"op": "add", "path": "/service/a", "value": "`+strings.Repeat("x", size)+`"}]}`))
		if good && (err != nil || len(a.Service) < 4<<20-2000+size) {
			t.Errorf("%d bytes more: got %d bytes, %v", size, len(a.Service), err)
		}
		if !good {
			wantFailure(t, err, "at most 4194304 are possible")
		}
	}
}

// wantFailure wants a failure with a text that gives away neither the address nor the answer.
func wantFailure(t *testing.T, err error, text string) {
	t.Helper()
	var f *webhook.Failure
	if !errors.As(err, &f) || !errors.Is(err, wadi.ErrUnavailable) {
		t.Fatalf("got %v, want a failure with %q", err, text)
	}
	if all := fmt.Sprint(err, f.Err); !strings.Contains(all, text) {
		t.Errorf("got %s, want %q in it", all, text)
	}
	if strings.Contains(fmt.Sprint(f.Err), "key=secret") {
		t.Errorf("the log would say the key of the address: %v", f.Err)
	}
	for _, secret := range []string{"secret", "127.0.0.1", "http:", "/service", `"value"`} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the text says %q: %v", secret, err)
		}
	}
}

func TestAsk_Statuses(t *testing.T) {
	for _, status := range []int{201, 204, 302, 400, 500} {
		var asked atomic.Int32
		w := serve(t, webhook.Config{}, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			w.Header().Set("Location", "/other")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"allowed": true}`)
		})
		_, err := w.Ask(t.Context(), question())
		wantFailure(t, err, fmt.Sprintf("its status is %d", status))
		if n := asked.Load(); n != 1 {
			t.Errorf("status %d: asked %d times, want once", status, n)
		}
	}
}

func TestAsk_Unreachable(t *testing.T) {
	s := httptest.NewServer(nil)
	w := open(t, webhook.Config{}, s.URL+"/?key=secret")
	s.Close()
	_, err := w.Ask(t.Context(), question())
	wantFailure(t, err, "can't be reached")
}

// Both a webhook without an answer and one whose answer does not end are cut off.
func TestAsk_Slow(t *testing.T) {
	for name, begin := range map[string]bool{"no answer": false, "half an answer": true} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, webhook.Config{Timeout: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
				if begin {
					_, _ = io.WriteString(w, `{"allowed": `)
					_ = http.NewResponseController(w).Flush()
				}
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			})
			_, err := w.Ask(t.Context(), question())
			wantFailure(t, err, "longer than 50ms")
		})
	}
}

// A caller whose time is over has not been let down by the webhook.
func TestAsk_CallerGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := serve(t, webhook.Config{}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	_, err := w.Ask(ctx, question())
	var f *webhook.Failure
	if !errors.Is(err, context.Canceled) || errors.As(err, &f) {
		t.Errorf("got %v, want that the caller is gone", err)
	}
}

func TestAsk_Metrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := webhook.NewMetrics(reg)
	for _, text := range []string{`{"allowed": true}`, `{"allowed": false}`, `{}`, `{"allowed": true, "patch": [{"op": "remove", "path": "/service/meta"}]}`} {
		w := serve(t, webhook.Config{Mutate: true, Metrics: m}, says(text))
		_, _ = w.Ask(t.Context(), question())
	}
	if n, err := testutil.GatherAndCount(reg, "wadi_admission_webhook_seconds"); err != nil || n != 4 {
		t.Errorf("%d outcomes, %v; want 4", n, err)
	}
}
