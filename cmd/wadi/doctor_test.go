package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/control"
)

// well is the report of an agent without problems.
func well(name string) wadi.AgentReport {
	return wadi.AgentReport{Name: name, Version: "test", Findings: []wadi.Finding{{Level: wadi.LevelOK, About: "agent", What: "it is healthy"}}}
}

func TestDoctor_AllIsWell(t *testing.T) {
	b := applied(t)
	b.store.SetStatus(wadi.Status{Service: "hello", Generation: 1, Phase: "ready", Conditions: []wadi.Condition{{Type: "Routed", OK: true}}})
	b.reports = []wadi.AgentReport{well("one"), well("two")}
	b.wadi(t, "doctor").want(t, 0, `LEVEL   ABOUT        FOUND -> WHAT TO DO
OK      agent one    it answers at http://ADDRESS, version test
OK      leader       one leads
OK      one: agent   it is healthy
OK      two: agent   it is healthy
OK      services     1 is as it should be
`, "")
	o := b.wadi(t, "doctor", "-json")
	if o.code != 0 || !strings.Contains(o.stdout, `"ok": true`) {
		t.Errorf("got %+v", o)
	}
}

func TestDoctor_Findings(t *testing.T) {
	b := applied(t)
	b.store.SetStatus(wadi.Status{Service: "hello", Generation: 1, Phase: "ready", Conditions: []wadi.Condition{
		{Type: "LatestReady", OK: true},
		{Type: "NetworkProgrammed", Reason: "NotProgrammed", Message: "service-splitter hello is somebody else's\x1b[31m"},
		{Type: "CallersAllowed", Reason: "IntentionMissing",
			Message: `Consul's intentions refuse wadi-activator for hello: add { Name = "wadi-activator" Action = "allow" } to service-intentions hello`},
	}})
	late := well("two")
	late.Version = "old"
	late.Findings = append(late.Findings, wadi.Finding{Level: wadi.LevelWarn, About: "certificate a", What: "it expires soon", Remedy: "put a new one in its place"})
	b.reports = []wadi.AgentReport{well("one"), late}
	b.wadi(t, "doctor").want(t, 1, `LEVEL   ABOUT                FOUND -> WHAT TO DO
OK      agent one            it answers at http://ADDRESS, version test
OK      leader               one leads
OK      one: agent           it is healthy
OK      two: agent           it is healthy
WARN    two: certificate a   it expires soon -> put a new one in its place
WARN    agents               they have different versions: old (two), test (one) -> bring all to the newest
FAIL    service hello        service-splitter hello is somebody else's[31m -> wadi service status hello shows more
FAIL    service hello        Consul's intentions refuse wadi-activator for hello -> add { Name = "wadi-activator" Action = "allow" } to service-intentions hello
`, "")
	o := b.wadi(t, "doctor", "-json")
	if o.code != 1 || !strings.Contains(o.stdout, `"ok": false`) || !strings.Contains(o.stdout, `"remedy": "put a new one`) {
		t.Errorf("got %+v", o)
	}
}

// A condition that may become true by itself is no failure.
func TestDoctor_Starting(t *testing.T) {
	b := applied(t)
	b.store.SetStatus(wadi.Status{Service: "hello", Generation: 1, Phase: "pending", Conditions: []wadi.Condition{
		{Type: "LatestReady", Reason: "Starting", Message: "hello-00001 waits for its instances"}}})
	if o := b.wadi(t, "doctor"); o.code != 0 || !strings.Contains(o.stdout, "WARN    service hello   hello-00001 waits") {
		t.Errorf("got %+v", o)
	}
	b.store.SetStatus(wadi.Status{Service: "hello", Generation: 1, Phase: "failed", Conditions: []wadi.Condition{
		{Type: "LatestReady", Reason: "Failed", Message: "hello-00001: no node fits"}}})
	if o := b.wadi(t, "doctor"); o.code != 1 || !strings.Contains(o.stdout, "no node fits -> submit a revision that works") {
		t.Errorf("got %+v", o)
	}
}

func TestDoctor_NobodyThere(t *testing.T) {
	b := newBench(t)
	b.Close()
	o := b.wadi(t, "doctor")
	if o.code != 1 || !strings.Contains(o.stdout, "FAIL    agent   reach the agent at") || !strings.Contains(o.stdout, "-> start one") || strings.Contains(o.stdout, "leader") {
		t.Errorf("got %+v", o)
	}
}

// An older agent without the path, no leader, and services that may not be read.
func TestDoctor_HalfAnAgent(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/agent/self":
			_, _ = w.Write([]byte(`{"name":"old"}`))
		case "/v1/status/leader":
			http.Error(w, `{"error":"no agent leads"}`, http.StatusServiceUnavailable)
		case "/v1/services":
			http.Error(w, `{"error":"permission denied"}`, http.StatusUnauthorized)
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	o := (&bench{Server: s}).wadi(t, "doctor")
	for _, text := range []string{"FAIL    leader      no agent leads", "FAIL    agents      they can't be asked", "WARN    services    they were not checked: permission denied -> set a Nomad token"} {
		if o.code != 1 || !strings.Contains(o.stdout, text) {
			t.Errorf("%q is missing in %+v", text, o)
		}
	}
}

// Services of a namespace that the token may not read are left out.
func TestDoctor_Rights(t *testing.T) {
	b := applied(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	b.store.SetStatus(wadi.Status{Service: "hello", Conditions: []wadi.Condition{{Type: "X", Message: "secret"}}})
	if o := b.wadi(t, "doctor"); strings.Contains(o.stdout, "hello") {
		t.Errorf("got %+v", o)
	}
	if o := b.wadi(t, "doctor", "-token", "alice"); !strings.Contains(o.stdout, "secret") {
		t.Errorf("got %+v", o)
	}
}

// A service scaled by a metric without measurements gets a remedy.
func TestDoctor_NothingIsMeasured(t *testing.T) {
	b := applied(t)
	unread := func(why string) {
		b.store.SetStatus(wadi.Status{Service: "hello", Generation: 1, Phase: "ready", Conditions: []wadi.Condition{
			{Type: control.ConditionUsage, Reason: "NotMeasured", Message: "what instances use can't be read: " + why}}})
	}
	unread("nomad has no statistics of the task (its client needs telemetry { publish_allocation_metrics = true })")
	if o := b.wadi(t, "doctor"); o.code != 1 || !strings.Contains(o.stdout, "-> set telemetry { publish_allocation_metrics = true } in the configuration of every Nomad client") {
		t.Errorf("got %+v", o)
	}
	o := b.wadi(t, "explain", "hello")
	if o.code != 0 || !strings.Contains(o.stdout, "cpu and memory: what instances use can't be read: nomad has no statistics") {
		t.Errorf("explain: got %+v", o)
	}
	unread("Permission denied")
	if o := b.wadi(t, "doctor"); o.code != 1 || !strings.Contains(o.stdout, "Permission denied -> wadi service status hello shows more") {
		t.Errorf("got %+v", o)
	}
}

// Gateways with different domains are reported.
func TestDoctor_DifferentDomains(t *testing.T) {
	b := applied(t)
	one, two, old := well("one"), well("two"), well("old")
	one.GatewayDomain, two.GatewayDomain = "a.example.com", "a.example.com"
	b.reports = []wadi.AgentReport{one, two, old}
	const what = "FAIL    agents       their gateways answer for different domains: a.example.com (one), b.example.com (two) -> give all the same gateway.domain"
	if o := b.wadi(t, "doctor"); strings.Contains(o.stdout, "different domains") {
		t.Errorf("alike: got %+v", o)
	}
	b.reports[1].GatewayDomain = "b.example.com"
	if o := b.wadi(t, "doctor"); o.code != 1 || !strings.Contains(strings.Join(strings.Fields(o.stdout), " "), strings.Join(strings.Fields(what), " ")) {
		t.Errorf("got %+v", o)
	}
}
