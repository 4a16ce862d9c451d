package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

// A service that the caller may not read and a service that does not exist have the same
// answer, after the same requests to Nomad.
func TestRights_OneAnswerForNotThereAndNotYours(t *testing.T) {
	for _, token := range []string{"stranger", "reader of another", "blind of another", "unknown", ""} {
		b := newBench(t, nil)
		b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
		b.nomad.Allow("stranger", admissiontest.Grant{})
		b.nomad.Allow("reader of another", admissiontest.Grant{Read: []string{"other"}})
		b.nomad.Allow("blind of another", admissiontest.Grant{Blind: []string{"other"}})
		b.ask(t, "PUT", "/v1/services", submission(hello), "X-Nomad-Token", "alice").want(t, 200)
		for _, q := range []struct{ method, path, body string }{
			{"GET", "/v1/service/NAME", ""},
			{"GET", "/v1/service/NAME/revisions", ""},
			{"GET", "/v1/service/NAME/decisions", ""},
			{"GET", "/v1/service/NAME/rollout/check", ""},
			{"GET", "/v1/revision/NAME-00001", ""},
			{"GET", "/v1/events?service=NAME&follow=false", ""},
			{"DELETE", "/v1/service/NAME", ""},
			{"DELETE", "/v1/service/NAME?index=7", ""},
			{"PUT", "/v1/service/NAME/traffic", `{"targets":[{"revision":"latest"}]}`},
			{"PUT", "/v1/service/NAME/traffic", `{"targets":[{"revision":"NAME-00007"}],"check_index":7}`},
			{"PUT", "/v1/service/NAME/rollback", `{"to":"NAME-00001"}`},
			{"PUT", "/v1/service/NAME/rollout", `{"action":"abort"}`},
			{"PUT", "/v1/service/NAME/scale", `{"count":5,"for":"10m"}`},
			{"PUT", "/v1/service/NAME/scale", `{"count":5,"for":"10m","revision":"NAME-00001"}`},
		} {
			as := func(name string) string {
				path, body := strings.ReplaceAll(q.path, "NAME", name), strings.ReplaceAll(q.body, "NAME", name)
				b.nomad.Asked()
				a := b.ask(t, q.method, path, body, "X-Nomad-Token", token)
				return fmt.Sprintln(a.status, strings.ReplaceAll(a.body, name, "NAME"), b.nomad.Asked())
			}
			if there, not := as("hello"), as("nobody"); there != not {
				t.Errorf("%q: %s %s: there is: %s there is not: %s", token, q.method, q.path, there, not)
			}
			b.nomad.Fail(wadi.ErrUnavailable)
			if there, not := as("hello"), as("nobody"); there != not {
				t.Errorf("%q, Nomad away: %s %s: there is: %s there is not: %s", token, q.method, q.path, there, not)
			}
			b.nomad.Fail(nil)
		}
	}
}

// A submission of a service of another namespace is refused with the name alone.
func TestRights_NothingOfAnothersServiceAtSubmission(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"secret"}})
	b.nomad.Allow("bob", admissiontest.Grant{Submit: []string{"default"}})
	in := func(namespace, source string) string {
		return strings.Replace(source, "  mesh ", fmt.Sprintf("  namespace = %q\n  protocol = \"h2c\"\n  domains = [\"x.example.com\"]\n  mesh ", namespace), 1)
	}
	b.ask(t, "PUT", "/v1/services", submission(in("secret", hello)), "X-Nomad-Token", "alice").want(t, 200)
	b.ask(t, "DELETE", "/v1/service/hello", "", "X-Nomad-Token", "alice").want(t, 202)
	body := strings.TrimSuffix(submission(hello), "}") + `,"check_index":{"hello":7}}`
	a := b.ask(t, "PUT", "/v1/services", body, "X-Nomad-Token", "bob")
	a.want(t, 422, "a service of that name is in another Nomad namespace")
	for _, secret := range []string{"secret", "h2c", "deleted", "stored index", "protocol"} {
		if strings.Contains(a.body, secret) {
			t.Errorf("%q is told: %s", secret, a.body)
		}
	}
	other := strings.Replace(strings.Replace(hello, `"hello"`, `"world"`, 1), "  mesh ", "  domains = [\"x.example.com\"]\n  mesh ", 1)
	a = b.ask(t, "PUT", "/v1/services", submission(other), "X-Nomad-Token", "bob")
	a.want(t, 422, `belongs to a service in another Nomad namespace`)
	if strings.Contains(a.body, "hello") {
		t.Errorf("its holder is told: %s", a.body)
	}
	b.nomad.Allow("both", admissiontest.Grant{Submit: []string{"default", "secret"}})
	third := strings.Replace(strings.Replace(hello, `"hello"`, `"third"`, 1), "  mesh ", "  namespace = \"secret\"\n  mesh ", 1)
	b.ask(t, "PUT", "/v1/services", submission(other, third), "X-Nomad-Token", "both").want(t, 422, `belongs to the service \"hello\"`)
}

// The rights to scale and to submit do not require the right to read.
func TestRights_ScaleAndDeleteNeedTheirOwnAlone(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	b.nomad.Allow("scaler", admissiontest.Grant{Scale: []string{"default"}})
	b.nomad.Allow("blind", admissiontest.Grant{Blind: []string{"default"}})
	b.nomad.Allow("reader", admissiontest.Grant{Read: []string{"default"}})
	b.ask(t, "PUT", "/v1/services", submission(hello), "X-Nomad-Token", "alice").want(t, 200)
	const path, body = "/v1/service/hello/scale", `{"count":5,"for":"10m"}`
	b.ask(t, "PUT", path, body, "X-Nomad-Token", "scaler").want(t, 200, `"count":5`)
	b.ask(t, "PUT", path, body, "X-Nomad-Token", "blind").want(t, 200)
	b.ask(t, "DELETE", "/v1/service/hello", "", "X-Nomad-Token", "scaler").want(t, 404)
	b.ask(t, "GET", "/v1/service/hello", "", "X-Nomad-Token", "blind").want(t, 404)
	b.ask(t, "DELETE", "/v1/service/hello", "", "X-Nomad-Token", "reader").want(t, 403, `change in namespace \"default\"`)
	b.ask(t, "PUT", path, body, "X-Nomad-Token", "reader").want(t, 403, `scale in namespace \"default\"`)
	b.ask(t, "DELETE", "/v1/service/hello", "", "X-Nomad-Token", "blind").want(t, 202)
}

// A token unknown to Nomad is refused with Nomad's text, not answered with an empty list.
func TestRights_UnknownToken(t *testing.T) {
	for _, there := range []bool{true, false} {
		b := newBench(t, nil)
		b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
		b.nomad.Allow("stranger", admissiontest.Grant{})
		if there {
			b.ask(t, "PUT", "/v1/services", submission(hello), "X-Nomad-Token", "alice").want(t, 200)
		}
		for _, path := range []string{"/v1/services", "/v1/events?follow=false", "/v1/service/hello"} {
			b.ask(t, "GET", path, "", "X-Nomad-Token", "unknown").want(t, 403, "ACL token not found")
			b.ask(t, "GET", path, "").want(t, 401, "send a Nomad token")
		}
		b.ask(t, "GET", "/v1/services", "", "X-Nomad-Token", "stranger").want(t, 200, "[]")
	}
}

// A right that the agent's own token lacks is not one that the caller could bring.
func TestRights_TheAgentsOwn(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	b.store.Fail(fmt.Errorf("read wadi/spec/hello: %w: token lacks key:read", wadi.ErrOwnRight))
	for _, q := range []struct{ method, path, body string }{
		{"GET", "/v1/services", ""}, {"GET", "/v1/service/hello", ""}, {"DELETE", "/v1/service/hello", ""},
		{"PUT", "/v1/services", submission(hello)}, {"PUT", "/v1/service/hello/scale", `{"count":5,"for":"10m"}`},
	} {
		a := b.want(t, 503, q.method, q.path, q.body, "this agent can't do that: its own token lacks a right", "wadi doctor")
		if a.header.Get("WWW-Authenticate") != "" || strings.Contains(a.body, "X-Nomad-Token") || strings.Contains(a.body, "wadi/spec") {
			t.Errorf("%s %s: got %s", q.method, q.path, a.body)
		}
	}
	if !strings.Contains(b.log.String(), "token lacks key:read") {
		t.Errorf("the log does not say which: %s", b.log)
	}
}
