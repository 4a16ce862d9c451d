package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

// answering returns a client of a server that always answers so.
func answering(t *testing.T, status int, body string) *api.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return client(t, api.Config{Address: s.URL})
}

func client(t *testing.T, c api.Config) *api.Client {
	t.Helper()
	out, err := api.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestErrors(t *testing.T) {
	for status, want := range map[int]error{
		401: wadi.ErrForbidden, 403: wadi.ErrForbidden, 404: wadi.ErrNotFound, 409: wadi.ErrConflict,
		413: wadi.ErrTooLarge, 502: wadi.ErrUnavailable, 503: wadi.ErrUnavailable,
	} {
		if _, err := answering(t, status, `{"error": "no"}`).Services(t.Context()); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
	}
	_, err := answering(t, 400, `{"error": "bad input", "details": [{"file": "a.hcl", "line": 12, "column": 3, "path": "scale.max", "message": "too large"}]}`).
		Apply(t.Context(), api.Submission{})
	if diff := cmp.Diff("bad input\na.hcl:12,3: scale.max: too large", err.Error()); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{"<html>", "", `{}`} {
		_, err := answering(t, 500, body).Services(t.Context())
		var e *api.Error
		if !errors.As(err, &e) || e.Status != 500 || e.Message != "500 Internal Server Error" {
			t.Errorf("%q: %v", body, err)
		}
	}
	if _, err := answering(t, 200, "<html>").Services(t.Context()); err == nil || !strings.Contains(err.Error(), "as a Wadi agent does") {
		t.Errorf("got %v", err)
	}
	if err := answering(t, 503, `{"ok": false, "problems": ["Nomad is away"]}`).Health(t.Context()); err == nil || err.Error() != "Nomad is away" {
		t.Errorf("got %v", err)
	}
}

func TestNew_Addresses(t *testing.T) {
	for in, want := range map[string]string{
		"": api.DefaultAddress, "10.0.0.1:4747": "http://10.0.0.1:4747", "https://wadi.example.com/": "https://wadi.example.com",
	} {
		if got := client(t, api.Config{Address: in}).Address(); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{"ftp://x", "http://", "http://user:secret@x", "http://%zz"} {
		if _, err := api.New(api.Config{Address: in}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	_, err := client(t, api.Config{Address: "127.0.0.1:1"}).Services(t.Context())
	if !errors.Is(err, wadi.ErrUnavailable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestTokenDoesNotFollowRedirects(t *testing.T) {
	var leaked string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked = r.Header.Get("X-Nomad-Token") }))
	t.Cleanup(thief.Close)
	s := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	t.Cleanup(s.Close)
	if _, err := client(t, api.Config{Address: s.URL, Token: "secret"}).Services(t.Context()); err == nil || leaked != "" {
		t.Errorf("got %v, leaked %q", err, leaked)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	var path string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { path = r.URL.EscapedPath(); http.NotFound(w, r) }))
	t.Cleanup(s.Close)
	_, _ = client(t, api.Config{Address: s.URL + "/prefix"}).Service(t.Context(), "../x?y")
	if path != "/prefix/v1/service/..%2Fx%3Fy" {
		t.Errorf("path %s", path)
	}
}

// What the server answers has no key that the client would not know, and none is
// lost: decoding strictly and encoding again gives the same.
func TestTypesFitTheServer(t *testing.T) {
	nomad, store := &admissiontest.Nomad{}, &admissiontest.Store{}
	adm, err := admissiontest.New(nomad, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := server.New(server.Config{Self: api.Self{Name: "one", Version: "1", API: "a", Gateway: "b", GatewayTLS: "e", Metrics: "d"}, Settings: server.Settings{GatewayDomain: "c"},
		Admission: adm, Store: store, Rights: nomad,
		Doctor: func(context.Context, string) []wadi.AgentReport {
			return []wadi.AgentReport{{Name: "one", Version: "1", Findings: []wadi.Finding{{Level: wadi.LevelFail, About: "a", What: "w", Remedy: "r"}}}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h.Handler())
	t.Cleanup(s.Close)
	c := client(t, api.Config{Address: s.URL})
	_, err = c.Apply(t.Context(), api.Submission{Files: []api.File{{Name: "hello.hcl", Source: `service "hello" {
  mesh    = "off"
  network = "host"
  instance {
    task "web" {
      driver = "raw_exec"
    }
  }
}
`}}})
	if err != nil {
		t.Fatal(err)
	}
	store.SetStatus(wadi.Status{Service: "hello", Generation: 1, Phase: "failed", URL: "u",
		Revisions: []wadi.RevisionStatus{{ID: "hello-00001", Phase: wadi.Failed, Reason: "r", Percent: 1, Created: 1}}})
	for path, v := range map[string]any{
		"/v1/services":                &[]api.ServiceSummary{},
		"/v1/service/hello":           &api.Service{},
		"/v1/service/hello/revisions": &[]api.Revision{},
		"/v1/revision/hello-00001":    &wadi.Revision{},
		"/v1/agent/self":              &api.Self{},
		"/v1/status/leader":           &api.Leader{},
		"/v1/doctor":                  &api.Doctor{},
	} {
		roundTrip(t, s.URL+path, v)
	}
	d, err := c.Delete(t.Context(), "hello", 1, time.Millisecond)
	if diff := cmp.Diff(api.Deletion{Name: "hello", Deleting: true}, d); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func roundTrip(t *testing.T, url string, v any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var want any
	raw := json.NewDecoder(resp.Body)
	if err := raw.Decode(&want); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d %v", url, resp.StatusCode, err)
	}
	body, _ := json.Marshal(want)
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	again, _ := json.Marshal(v)
	var got any
	_ = json.Unmarshal(again, &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-server +client):\n%s", url, diff)
	}
}
