//go:build e2e

package attacks_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/test/harness"
)

// forged are headers by which a caller claims to be an agent, or of this machine.
var forged = []string{
	"Wadi-Forwarded", "wadi-1", "Wadi-Forwarded-Auth", "none", "X-Forwarded-For", "127.0.0.1", "Forwarded", "for=127.0.0.1",
	"X-Real-Ip", "127.0.0.1", "X-Forwarded-Host", "localhost", "X-Nomad-Token", "",
}

// No header makes a stranger an agent, a neighbour of one, or someone with rights.
func TestAttack_ForgedHeaders(t *testing.T) {
	t.Parallel()
	target(t)
	for _, a := range []*harness.Agent{stack.Agent, open} {
		for _, path := range []string{
			"/v1/services", "/v1/service/bobs", "/v1/service/bobs/decisions", "/v1/events?follow=false", "/v1/revision/bobs-00001",
			"/v1/doctor", "/v1/agent/doctor", "/v1/agent/self", "/v1/status/leader", "/v1/admin/dump", "/debug/pprof/heap", "/debug/pprof/cmdline",
		} {
			res := ask(t, a, request{method: "GET", path: path, header: forged})
			if res.Status != http.StatusUnauthorized && res.Status != http.StatusForbidden {
				t.Errorf("%s: %s: got %d %.200s", a.Name, path, res.Status, res.Body)
			}
		}
		for _, r := range []request{
			{method: "PUT", path: "/v1/services", body: encoded(in("bob", "bobs", ""))},
			{method: "DELETE", path: "/v1/service/bobs"},
			{method: "PUT", path: "/v1/service/bobs/scale", body: `{"count": 0, "for": "1h"}`},
			{method: "PUT", path: "/v1/admin/drain"},
			{method: "POST", path: "/v1/admin/drain"},
			{method: "PUT", path: "/v1/agent/reload"},
		} {
			r.header = forged
			if res := ask(t, a, r); res.Status < 400 || res.Status >= 500 {
				t.Errorf("%s: %s %s: got %d %.200s", a.Name, r.method, r.path, res.Status, res.Body)
			}
		}
	}
	must(t, "the agents go on", stack.Agent.Client.Health(t.Context()))
	must(t, "the agents go on", open.Client.Health(t.Context()))
}

// A job in the network of an agent's machine is not its administrator.
func TestAttack_Neighbour(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", alice} {
		for _, r := range []request{
			{method: "PUT", path: "/v1/admin/drain"}, {method: "GET", path: "/v1/admin/dump"}, {method: "PUT", path: "/v1/agent/reload"},
			{method: "PUT", path: "/v1/admin/log-level", body: `{"level": "off"}`}, {method: "GET", path: "/debug/pprof/heap"}, {method: "GET", path: "/debug/pprof/goroutine?debug=2"},
		} {
			if r.header = nil; token != "" {
				r.header = []string{"X-Nomad-Token", token}
			}
			if res := ask(t, stack.Agent, r); res.Status != http.StatusUnauthorized && res.Status != http.StatusForbidden {
				t.Errorf("%s %s: got %d %.200s", r.method, r.path, res.Status, res.Body)
			}
		}
	}
	must(t, "the agent goes on", stack.Agent.Client.Health(t.Context()))
}

// The mesh listener serves nobody without a certificate of the mesh, and the metrics
// listener has nothing that only agents and callers with rights may know.
func TestAttack_OtherListeners(t *testing.T) {
	t.Parallel()
	target(t)
	found, _, err := stack.Consul.Catalog().Service(wadi.ServiceActivator, "", nil)
	must(t, "find the mesh listeners", err)
	if len(found) == 0 && stack.Cluster.Bridge {
		t.Error("there is no mesh listener")
	}
	for _, s := range found {
		addr := net.JoinHostPort(s.ServiceAddress, fmt.Sprint(s.ServicePort))
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err == nil { // In TLS 1.3 the refusal comes after the client's part.
			_ = conn.SetDeadline(time.Now().Add(waitLong))
			_, _ = io.WriteString(conn, "GET /v1/events?follow=false HTTP/1.1\r\nHost: a\r\nWadi-Forwarded: wadi-1\r\n\r\n")
			got, err := io.ReadAll(conn)
			_ = conn.Close()
			if len(got) > 0 || err == nil {
				t.Errorf("a stranger gets %q (%v) at %s", got, err, addr)
			}
		}
	}
	for _, path := range []string{"/v1/doctor", "/v1/agent/doctor", "/v1/services", "/v1/events", "/v1/agent/self", "/debug/pprof/heap", "/v1/admin/dump"} {
		if code, body := plainly(t, stack.Agent.Metrics, path); code != http.StatusNotFound {
			t.Errorf("the metrics listener answers %s with %d %.200s", path, code, body)
		}
	}
	for _, path := range []string{"/metrics", "/v1/stats?since=0", "/ready"} {
		_, body := plainly(t, stack.Agent.Metrics, path)
		for what, secret := range secrets() {
			if strings.Contains(body, secret) {
				t.Errorf("%s of the metrics listener has %s", path, what)
			}
		}
	}
}

// plainly asks a listener without a token.
func plainly(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + addr + path)
	must(t, "ask "+path, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, "read "+path, err)
	return res.StatusCode, string(b)
}

// A name that has been pointed at an agent, and a page of another site, get nothing, on
// loopback and on a listener that other machines reach.
func TestAttack_ForeignHost(t *testing.T) {
	t.Parallel()
	for _, a := range []*harness.Agent{stack.Agent, open} {
		for _, host := range []string{"evil.example", "evil.example:4747", "localhost.evil.example", a.API + ".evil.example", "127.0.0.1.nip.io", "2130706433"} {
			for _, path := range []string{"/v1/agent/health", "/v1/services", "/v1/openapi.json"} {
				res := ask(t, a, request{method: "GET", path: path, header: []string{"Host", host, "X-Nomad-Token", bob}})
				if res.Status != http.StatusForbidden || strings.Contains(res.Body, "bobs") || strings.Contains(res.Body, host) {
					t.Errorf("%s: Host %s: %s: got %d %s", a.Name, host, path, res.Status, res.Body)
				}
			}
		}
		for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
			for _, r := range []request{
				{method: "PUT", path: "/v1/services", body: encoded(in("bob", "planted", ""))},
				{method: "POST", path: "/v1/services/plan", body: encoded(in("bob", "planted", ""))},
				{method: "DELETE", path: "/v1/service/bobs"},
			} {
				r.header = append([]string{"X-Nomad-Token", bob}, header...)
				if res := ask(t, a, r); res.Status != http.StatusForbidden {
					t.Errorf("%s: %v: %s %s: got %d %s", a.Name, header, r.method, r.path, res.Status, res.Body)
				}
			}
		}
		// A page can't read an answer either: no answer allows that.
		res := ask(t, a, request{method: "GET", path: "/v1/services", header: []string{"X-Nomad-Token", bob, "Origin", "https://evil.example"}})
		for name := range res.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: an answer has %s", a.Name, name)
			}
		}
	}
	if res := ask(t, open, request{method: "GET", path: "/v1/agent/health", header: []string{"Host", "wadi.example.com"}}); res.Status != 200 {
		t.Errorf("by the name in its certificate: got %d %s", res.Status, res.Body)
	}
}

// secrets are those that no output may have, by what they are.
func secrets() map[string]string {
	return map[string]string{
		"alice's token": alice, "bob's token": bob, "the management token": harness.Management,
		"the agents' Nomad token": stack.AgentTokens.Nomad, "the agents' Consul token": stack.AgentTokens.Consul,
	}
}

// Agents are listed in Consul with addresses, and with nothing that is secret.
func TestAttack_ReadTheCatalog(t *testing.T) {
	t.Parallel()
	found, _, err := stack.Consul.Catalog().Service(wadi.ServiceAgent, "", nil)
	must(t, "list the agents", err)
	for _, s := range found {
		for what, secret := range secrets() {
			if strings.Contains(fmt.Sprint(s.ServiceMeta, s.ServiceTags), secret) {
				t.Errorf("%s has %s", s.ServiceID, what)
			}
		}
		if url := s.ServiceMeta[consul.MetaURL]; consul.AgentName(s.ServiceID) == open.Name && url != "https://"+open.API {
			t.Errorf("the open agent is told as %q", url)
		}
	}
}
