package server_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
)

// stream opens the events as token and returns a function that reads the next one.
func (b bench) stream(t *testing.T, query, token string) func() string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", b.URL+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Nomad-Token", token)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	return func() string {
		for lines.Scan() {
			if lines.Text() != "{}" {
				return lines.Text()
			}
		}
		return "end"
	}
}

func TestEvents(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	b.nomad.Allow("stranger", admissiontest.Grant{})
	b.ask(t, "PUT", "/v1/services", submission(hello, strings.Replace(hello, "hello", "world", 1)), "X-Nomad-Token", "alice").want(t, 200)
	b.events.add(event("world", "one"))
	b.events.add(event("hello", "two"))

	all, only := b.stream(t, "", "alice"), b.stream(t, "?service=hello", "alice")
	none, past := b.stream(t, "?follow=false", "stranger"), b.stream(t, "?follow=false", "alice")
	for _, tt := range []struct {
		next func() string
		want []string
	}{
		{past, []string{"one", "two", "end"}},
		{none, []string{"end"}},
		{all, []string{"one", "two"}},
		{only, []string{"two"}},
	} {
		for _, want := range tt.want {
			if got := tt.next(); !strings.Contains(got, want) {
				t.Errorf("got %s, want %q", got, want)
			}
		}
	}
	b.store.Forget("hello")
	b.events.add(event("hello", "gone"))
	for _, next := range []func() string{all, only} {
		if got := next(); !strings.Contains(got, "gone") {
			t.Errorf("got %s, want the deleted service's last event", got)
		}
	}
}

type leadership struct{ name, url string }

func (l *leadership) Leader() (string, string) { return l.name, l.url }

func TestFollowerAsksTheLeader(t *testing.T) {
	leader := newBench(t, func(c *server.Config) { c.Self.Name = "two"; c.Leadership = &leadership{"two", ""} })
	lead := &leadership{"two", leader.URL}
	follower := newBench(t, func(c *server.Config) { c.Leadership = lead; c.Events, c.Decisions = nil, nil })
	for _, b := range []bench{leader, follower} { // They share a store in reality.
		b.want(t, 200, "PUT", "/v1/services", submission(hello))
	}
	leader.events.add(event("hello", "from the leader"))

	follower.want(t, 200, "GET", "/v1/service/hello/decisions", "", "because")
	if got := follower.stream(t, "?service=hello", "")(); !strings.Contains(got, "from the leader") {
		t.Errorf("got %s", got)
	}
	follower.want(t, 200, "GET", "/v1/status/leader", "", `"name":"two"`, leader.URL)
	follower.want(t, 200, "GET", "/v1/agent/self", "", `"leader":false`)

	lead.url = follower.URL // The leader has moved, and nobody knows yet.
	follower.want(t, 503, "GET", "/v1/service/hello/decisions", "", "leader moved")
	lead.url = "http://127.0.0.1:1"
	follower.want(t, 503, "GET", "/v1/service/hello/decisions", "", "two")
	*lead = leadership{}
	follower.want(t, 503, "GET", "/v1/service/hello/decisions", "", "no agent leads")
	follower.want(t, 503, "GET", "/v1/status/leader", "", "no agent leads")
}

// A stream without events sends heartbeats for an hour, and then shows the last event of a
// deleted service to a caller that could read the service.
func TestEvents_QuietStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := newUnserved(t, nil)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("PUT", "/v1/services", strings.NewReader(submission(hello))))
		if w.Code != 200 {
			t.Fatal(w.Body)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w = httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/v1/events", nil).WithContext(ctx))
		}()
		b.events.add(event("hello", "first"))
		time.Sleep(time.Hour)
		b.store.Forget("hello")
		b.events.add(event("hello", "last"))
		b.events.add(event("unknown", "never seen"))
		synctest.Wait()
		cancel()
		<-done
		got := w.Body.String()
		if !strings.Contains(got, "first") || !strings.Contains(got, "last") || strings.Contains(got, "never seen") {
			t.Errorf("got %s", got)
		}
		if n := strings.Count(got, "{}"); n < 300 || n > 361 {
			t.Errorf("%d signs of life in an hour", n)
		}
	})
}

// A stream ends with the reason when its token is revoked or loses its right, but not while
// Nomad is unavailable.
func TestEvents_RightIsLost(t *testing.T) {
	for _, tt := range []struct {
		query string
		lose  func(n *admissiontest.Nomad, s *admissiontest.Store)
		want  string
	}{
		{"", func(n *admissiontest.Nomad, _ *admissiontest.Store) { n.Revoke("alice") }, `{"error":"events: permission denied: ACL token not found","status":403}`},
		{"?service=hello", func(n *admissiontest.Nomad, s *admissiontest.Store) { s.Forget("hello"); n.Revoke("alice") },
			`{"error":"events of hello: permission denied: ACL token not found","status":403}`},
		{"?service=hello", func(_ *admissiontest.Nomad, s *admissiontest.Store) { elsewhere(t, s, "hello", "secret") },
			`{"error":"events of hello: not found","status":404}`},
		{"?service=hello", func(n *admissiontest.Nomad, _ *admissiontest.Store) { n.Allow("alice", admissiontest.Grant{}) },
			`{"error":"events of hello: read in namespace \"default\": permission denied","status":403}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, s := newUnserved(t, nil)
			b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
			ask := func(ctx context.Context, method, path, body string) *httptest.ResponseRecorder {
				w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body)).WithContext(ctx)
				r.Header.Set("X-Nomad-Token", "alice")
				s.Handler().ServeHTTP(w, r)
				return w
			}
			if w := ask(t.Context(), "PUT", "/v1/services", submission(hello)); w.Code != 200 {
				t.Fatal(w.Body)
			}
			b.events.add(event("hello", "first"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			time.AfterFunc(5*time.Minute, func() { b.nomad.Fail(wadi.ErrUnavailable) })
			time.AfterFunc(10*time.Minute, func() { b.nomad.Fail(nil) })
			time.AfterFunc(15*time.Minute, func() { tt.lose(b.nomad, b.store) })
			began := time.Now()
			w := ask(ctx, "GET", "/v1/events"+tt.query, "")
			lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
			if got := lines[len(lines)-1]; got != tt.want || !strings.Contains(w.Body.String(), "first") {
				t.Errorf("%q: got %s, want it to end with %s", tt.query, w.Body, tt.want)
			}
			if took := time.Since(began); took < 15*time.Minute || took > 16*time.Minute {
				t.Errorf("%q: it ended after %v", tt.query, took)
			}
		})
	}
}

// elsewhere makes a service one of another namespace, as by a deletion and a submission.
func elsewhere(t *testing.T, s *admissiontest.Store, name, namespace string) {
	t.Helper()
	spec, _, err := s.Spec(t.Context(), name)
	if err != nil {
		t.Error(err)
		return
	}
	s.Forget(name)
	spec.Service.Namespace = namespace
	if _, err := s.Submit(t.Context(), []wadi.Submission{{Spec: spec}}); err != nil {
		t.Error(err)
	}
}

// A stream goes on where an earlier one ended.
func TestEvents_Index(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	for _, message := range []string{"one", "two", "three"} {
		b.events.add(event("hello", message))
	}
	for query, want := range map[string]string{
		"": "one two three end", "&index=0": "one two three end", "&index=1": "two three end", "&index=3": "end",
		"&index=99": "one two three end", "&index=18446744073709551615": "one two three end",
	} {
		next := b.stream(t, "?follow=false"+query, "")
		var got []string
		for {
			line := next()
			var e wadi.Event
			_ = json.Unmarshal([]byte(line), &e) // Or the end.
			if got = append(got, cmp.Or(e.Message, line)); line == "end" {
				break
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"?index=x", "?index=-1", "?follow=no", "?follow=1"} {
		b.want(t, 400, "GET", "/v1/events"+query, "")
	}
}

// A service of a name has no part in the events of an earlier one in another namespace.
func TestEvents_OfAnEarlierServiceOfTheName(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	b.nomad.Allow("bob", admissiontest.Grant{Submit: []string{"elsewhere"}})
	b.ask(t, "PUT", "/v1/services", submission(hello), "X-Nomad-Token", "alice").want(t, 200)
	namespace := "elsewhere"
	b.events.Begin(func(string) string { return namespace })
	b.events.Load(nil)
	b.events.add(event("hello", "of bob"))
	namespace = "default"
	b.events.add(event("hello", "of alice"))
	for token, want := range map[string]string{"alice": "of alice", "bob": "of bob"} {
		next := b.stream(t, "?follow=false", token)
		if got := next(); !strings.Contains(got, want) {
			t.Errorf("%s: got %s", token, got)
		}
		if got := next(); got != "end" {
			t.Errorf("%s: got %s too", token, got)
		}
	}
	next := b.stream(t, "?follow=false&service=hello", "alice")
	if got := next() + next(); !strings.Contains(got, "of alice") || strings.Contains(got, "bob") {
		t.Errorf("got %s", got)
	}
}

// A new leader answers when it has read the events of earlier ones.
func TestEvents_WhileTheyAreLoading(t *testing.T) {
	b := newBench(t, nil)
	b.events.Begin(nil)
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	done := make(chan string, 1)
	go func() { done <- b.stream(t, "?follow=false", "")() }()
	b.events.Load([]wadi.Event{{Index: 7, Service: "hello", Message: "stored"}})
	if got := <-done; !strings.Contains(got, "stored") {
		t.Errorf("got %s", got)
	}
}

// A leader that can't read them says so.
func TestEvents_NotLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := newUnserved(t, nil)
		b.events.Begin(nil)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/v1/events?follow=false", nil))
		if w.Code != 503 || !strings.Contains(w.Body.String(), "can't read the earlier events yet") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// movingLeader is the leadership of a name that changes.
type movingLeader struct{ name atomic.Value }

func (l *movingLeader) Leader() (string, string) { return l.name.Load().(string), "" }

// A stream of an agent that leads no longer ends, so that its caller asks the new leader.
func TestEvents_EndWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lead := &movingLeader{}
		lead.name.Store("one")
		_, s := newUnserved(t, func(c *server.Config) { c.Leadership = lead })
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/v1/events", nil))
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it ended while the agent led")
		default:
		}
		lead.name.Store("") // No agent leads for a moment: this one may lead again.
		time.Sleep(time.Minute)
		lead.name.Store("two")
		time.Sleep(time.Minute)
		<-done
	})
}
