package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

// Agents forward only the reads that need the leader, with the rights of the caller.
func TestPeers(t *testing.T) {
	b, s := newUnserved(t, nil)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("PUT", "/v1/services", strings.NewReader(submission(hello))))
	if w.Code != 200 {
		t.Fatal(w.Body)
	}
	peers := s.Peers(nil)
	for _, tt := range []struct {
		method, path, from string
		want               int
	}{
		{"GET", "/v1/service/hello/decisions", "two", 200},
		{"GET", "/v1/service/nobody/decisions", "two", 404},
		{"GET", "/v1/events?service=hello&follow=false", "two", 200},
		{"GET", "/v1/service/hello/decisions", "", 404},
		{"GET", "/v1/services", "two", 404},
		{"PUT", "/v1/services", "two", 404},
		{"DELETE", "/v1/service/hello", "two", 404},
		{"PUT", "/v1/admin/drain", "two", 404},
		{"GET", "/debug/pprof/", "two", 404},
	} {
		r := httptest.NewRequest(tt.method, tt.path, nil)
		if tt.from != "" {
			r.Header.Set(server.HeaderForwarded, tt.from)
		}
		w := httptest.NewRecorder()
		peers.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s %s from %q: got %d %s, want %d", tt.method, tt.path, tt.from, w.Code, w.Body, tt.want)
		}
	}
	if _, _, err := b.store.Spec(t.Context(), "hello"); err != nil {
		t.Errorf("the service is gone: %v", err)
	}
}

// Streams of other agents end when this one drains.
func TestPeers_Stop(t *testing.T) {
	_, s := newUnserved(t, nil)
	stop := make(chan struct{})
	close(stop)
	r := httptest.NewRequest("GET", "/v1/events", nil)
	r.Header.Set(server.HeaderForwarded, "two")
	w := httptest.NewRecorder()
	s.Peers(stop).ServeHTTP(w, r) // It returns.
	if w.Code != http.StatusOK {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// The leader is given the token that a read is judged by, and no other.
func TestPeers_WhoseTokens(t *testing.T) {
	got := make(chan http.Header, 1)
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[]"))
	}))
	defer leader.Close()
	follower := newBench(t, func(c *server.Config) { c.Leadership = &leadership{"two", leader.URL} })
	follower.want(t, 200, "PUT", "/v1/services", submission(hello))
	follower.ask(t, "GET", "/v1/service/hello/decisions", "", "X-Nomad-Token", "nomad", "X-Consul-Token", "consul").want(t, 200)
	h := <-got
	if h.Get("X-Nomad-Token") != "nomad" || h.Get("X-Consul-Token") != "" || h.Get(server.HeaderForwarded) == "" {
		t.Errorf("got %v", h)
	}
}

// An agent that judges none of its own machine's callers judges those of agents that do.
func TestPeers_OfOneWithoutAuth(t *testing.T) {
	nomad, store, log := &admissiontest.Nomad{}, &admissiontest.Store{}, &events{}
	adm, err := admissiontest.New(nomad, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	nomad.Allow("stranger", admissiontest.Grant{})
	s, err := server.New(server.Config{Self: api.Self{Name: "one"}, Auth: wadi.AuthNone, Admission: adm, Store: store, Rights: nomad, Events: log})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("PUT", "/v1/services", strings.NewReader(submission(hello)))
	r.Header.Set("X-Nomad-Token", "alice")
	if s.Handler().ServeHTTP(w, r); w.Code != 200 {
		t.Fatal(w.Body)
	}
	log.add(event("hello", "something"))
	peers := s.Peers(nil)
	leader := httptest.NewTLSServer(peers)
	defer leader.Close()
	for _, tt := range []struct {
		auth  wadi.Auth
		token string
		sees  bool
	}{
		{wadi.AuthNomad, "alice", true}, {wadi.AuthNomad, "stranger", false}, {wadi.AuthNomad, "", false}, {wadi.AuthNone, "", true},
	} {
		follower, err := server.New(server.Config{Self: api.Self{Name: "two"}, Auth: tt.auth, Admission: adm, Store: store, Rights: nomad,
			Leadership: &leadership{"one", leader.URL}, Transport: leader.Client().Transport})
		if err != nil {
			t.Fatal(err)
		}
		f := httptest.NewServer(follower.Handler())
		req, err := http.NewRequestWithContext(t.Context(), "GET", f.URL+"/v1/events?follow=false", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Nomad-Token", tt.token)
		req.Header.Set("Wadi-Forwarded-Auth", string(wadi.AuthNone)) // As callers may say.
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		f.Close()
		if sees := strings.Contains(string(text), "something"); sees != tt.sees {
			t.Errorf("%s, %q: got %d %s", tt.auth, tt.token, resp.StatusCode, text)
		}
	}
}

// What agents are and run on is for callers of this machine, callers that Nomad knows, and
// other agents.
func TestInsiders(t *testing.T) {
	b, s := newUnserved(t, func(c *server.Config) {
		c.Doctor = func(context.Context, string) []wadi.AgentReport { return nil }
		c.Report = func(context.Context) wadi.AgentReport { return wadi.AgentReport{Name: "one"} }
	})
	b.nomad.Allow("alice", admissiontest.Grant{})
	for _, path := range []string{"/v1/doctor", "/v1/agent/doctor", "/v1/agent/self", "/v1/status/leader"} {
		for _, tt := range []struct {
			remote, token, through string
			want                   int
		}{
			{"192.0.2.7:1", "", "", 401},
			{"192.0.2.7:1", "stranger", "", 403},
			{"192.0.2.7:1", "alice", "", 200},
			{"127.0.0.1:1", "", "", 200},
			{"127.0.0.1:1", "", "192.0.2.7", 401},
		} {
			r := httptest.NewRequest("GET", path, nil)
			r.RemoteAddr = tt.remote
			r.Header.Set("X-Nomad-Token", tt.token)
			r.Header.Set("X-Forwarded-For", tt.through)
			w := httptest.NewRecorder()
			if s.Handler().ServeHTTP(w, r); w.Code != tt.want || tt.want >= 400 && strings.Contains(w.Body.String(), "one") {
				t.Errorf("%s from %s (%s) with token %q: got %d %s, want %d", path, tt.remote, tt.through, tt.token, w.Code, w.Body, tt.want)
			}
		}
	}
	r := httptest.NewRequest("GET", "/v1/agent/doctor", nil)
	r.RemoteAddr = "192.0.2.7:1"
	r.Header.Set(server.HeaderForwarded, "two")
	w := httptest.NewRecorder()
	if s.Peers(nil).ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("another agent: got %d %s", w.Code, w.Body)
	}
}
