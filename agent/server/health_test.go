package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

// Live, ready and healthy are three questions, and the first two are answered with yes or
// no alone.
func TestHealth_Types(t *testing.T) {
	ready, problems := true, []string{"no agent leads"}
	b := newBench(t, func(c *server.Config) {
		c.Ready, c.Problems = func() bool { return ready }, func() []string { return problems }
	})
	for range 2 {
		readyStatus := map[bool]int{true: 200, false: 503}[ready]
		for query, want := range map[string]int{"?type=live": 200, "?type=ready": readyStatus, "": 503} {
			got := b.ask(t, "GET", "/v1/agent/health"+query, "")
			if got.status != want || strings.Contains(got.body, "leads") != (query == "") {
				t.Errorf("ready %v, %q: %d %s, want %d", ready, query, got.status, got.body, want)
			}
		}
		ready = false
	}
	b.want(t, 400, "GET", "/v1/agent/health?type=alive", "", `type \"alive\" is neither`)
	b.want(t, 400, "GET", "/v1/agent/health?typ=live", "")
}

// What is wrong is for callers of this machine and for tokens that Nomad knows: it names
// addresses. Nomad is not asked about callers without a token.
func TestHealth_OutsidersLearnNothing(t *testing.T) {
	nomad, store := &admissiontest.Nomad{}, &admissiontest.Store{}
	adm, err := admissiontest.New(nomad, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Self: api.Self{Name: "one"}, Admission: adm, Store: store, Rights: nomad,
		Problems: func() []string { return []string{"waits for Consul at http://10.0.0.9:8500"} },
		Warnings: func() []string { return []string{"certificate of secret.example.com"} }})
	if err != nil {
		t.Fatal(err)
	}
	nomad.Allow("known", admissiontest.Grant{})
	for _, tt := range []struct {
		remote, token string
		texts         bool
	}{
		{"127.0.0.1:1", "", true}, {"192.0.2.7:1", "", false}, {"192.0.2.7:1", "known", true}, {"192.0.2.7:1", "forged", false},
	} {
		r := httptest.NewRequest("GET", "/v1/agent/health", nil)
		r.RemoteAddr = tt.remote
		if tt.token != "" {
			r.Header.Set("X-Nomad-Token", tt.token)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if body := w.Body.String(); w.Code != 503 || strings.Contains(body, "10.0.0.9") != tt.texts || strings.Contains(body, "secret") != tt.texts {
			t.Errorf("%+v: %d %s", tt, w.Code, body)
		}
	}
}

// A reload is for those that may administer the agent, and its mistakes come with file and
// line.
func TestReload(t *testing.T) {
	var refuse error
	asked := 0
	nomad, store := &admissiontest.Nomad{}, &admissiontest.Store{}
	adm, err := admissiontest.New(nomad, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Self: api.Self{Name: "one"}, Admission: adm, Store: store, Rights: nomad,
		MayAdmin: func(_ context.Context, token string) error {
			if token != "boss" {
				return wadi.ErrForbidden
			}
			return nil
		},
		Reload: func(context.Context) (api.Reloaded, error) {
			asked++
			return api.Reloaded{}, refuse
		}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, remote, token string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/v1/agent/reload", nil)
		r.RemoteAddr = remote
		if token != "" {
			r.Header.Set("X-Nomad-Token", token)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	for _, tt := range []struct {
		method, remote, token string
		headers               []string
		want                  int
	}{
		{"PUT", "192.0.2.7:1", "", nil, 401},
		{"PUT", "192.0.2.7:1", "other", nil, 403},
		{"PUT", "127.0.0.1:1", "", []string{"X-Forwarded-For", "192.0.2.7"}, 401},
		{"PUT", "127.0.0.1:1", "", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", "127.0.0.1:1", "", nil, 405},
	} {
		if got := ask(tt.method, tt.remote, tt.token, tt.headers...); got.Code != tt.want {
			t.Errorf("%+v: %d %s", tt, got.Code, got.Body)
		}
	}
	if asked != 0 {
		t.Errorf("%d refused callers were served", asked)
	}
	for _, who := range [][2]string{{"127.0.0.1:1", ""}, {"192.0.2.7:1", "boss"}} {
		if got := ask("PUT", who[0], who[1]); got.Code != 200 || strings.TrimSpace(got.Body.String()) != `{"changed":[]}` {
			t.Errorf("%v: %d %s", who, got.Code, got.Body)
		}
	}
	refuse = &api.Error{Status: http.StatusUnprocessableEntity, Message: "the configuration has 1 mistake; nothing was changed",
		Details: []wadi.Problem{{File: "/etc/wadi/wadi.hcl", Line: 3, Path: "limits.max_instances", Message: "0 is not between 1 and 10000"}}}
	if got := ask("PUT", "127.0.0.1:1", ""); got.Code != 422 || !strings.Contains(got.Body.String(), `"line":3,"path":"limits.max_instances"`) {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}
