//go:build e2e

package attacks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Whatever a caller does with its tokens, they are in no log of any agent, in no key of
// Consul, and in no job; nor are the agents' own.
func TestAttack_TokensInLogs(t *testing.T) {
	target(t)
	const marked = "5ec4e7-of-a-caller"
	places := [][]string{
		{"X-Nomad-Token", marked}, {"Authorization", "Bearer " + marked}, {"X-Consul-Token", marked},
		{"X-Nomad-Token", bob, "X-Consul-Token", marked}, {"X-Nomad-Token", "wrong\t" + marked}, {"Cookie", marked}, {"Wadi-Forwarded", marked},
	}
	asked := in("bob", "asked", "intentions {\n    allow = [\"somebody\"]\n  }")
	for _, a := range []*harness.Agent{stack.Agent, open} {
		for _, header := range places {
			for _, r := range []request{
				{method: "GET", path: "/v1/services?token=" + marked}, {method: "GET", path: "/v1/service/bobs"}, {method: "GET", path: "/v1/service/bobs/decisions"},
				{method: "GET", path: "/v1/events?follow=false"}, {method: "GET", path: "/v1/doctor"}, {method: "PUT", path: "/v1/services", body: encoded(asked)},
				{method: "PUT", path: "/v1/services", body: "{"}, {method: "POST", path: "/v1/services/plan", body: encoded(asked)},
				{method: "PUT", path: "/v1/service/bobs/scale", body: `{"count": 1, "for": "1s"}`}, {method: "GET", path: "/v1/admin/dump"},
				{method: "PUT", path: "/v1/agent/reload"}, {method: "GET", path: "/nothing?" + marked},
			} {
				r.header = header
				if res := ask(t, a, r); strings.Contains(res.Body+fmt.Sprint(res.Header), marked) {
					t.Errorf("%s: %s %s answers with a token: %d %s", a.Name, r.method, r.path, res.Status, res.Body)
				}
			}
		}
	}
	eventually(t, waitLong, func() error { // The requests are in the log.
		if !strings.Contains(logs(t)[stack.Agent.Name+".log"], "path=/nothing") {
			return fmt.Errorf("the agent logs no requests")
		}
		return nil
	})
	kept := logs(t)
	pairs, _, err := stack.Consul.KV().List("", nil)
	must(t, "list keys", err)
	if len(pairs) == 0 {
		t.Error("Consul has no keys")
	}
	for _, p := range pairs {
		kept["key "+p.Key] = string(p.Value)
	}
	jobs, _, err := stack.Nomad.Jobs().List(allNamespaces())
	must(t, "list jobs", err)
	for _, j := range jobs {
		q := allNamespaces()
		q.Namespace = j.Namespace
		job, _, err := stack.Nomad.Jobs().Info(j.ID, q)
		must(t, "read a job", err)
		text, err := json.Marshal(job)
		must(t, "encode a job", err)
		kept["job "+j.ID] = string(text)
	}
	hunted := secrets()
	hunted["a caller's token"] = marked
	for place, text := range kept {
		for what, secret := range hunted {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s has %s: %.300s", place, what, text[max(0, i-150):])
			}
		}
	}
	_, _ = clientOf(t, bob).Delete(t.Context(), "asked", 0, 0)
}

// Callers from outside learn that a service can't start, and neither what it runs, where, nor
// by which Nomad.
func TestAttack_OutsidersLearnNothing(t *testing.T) {
	t.Parallel()
	secret := "/registry.internal.example/secret-image"
	broken := strings.Replace(strings.Replace(in("bob", "broken", ""), `command = "hello"`, "command = "+fmt.Sprintf("%q", secret), 1),
		"min = 0", "min = 0\n    initial = 0", 1)
	c := clientOf(t, bob)
	_, err := c.Apply(t.Context(), submission(broken))
	must(t, "submit", err)
	t.Cleanup(func() { _, _ = clientOf(t, bob).Delete(t.Context(), "broken", 0, 0) })
	host, err := os.Hostname()
	must(t, "read the host's name", err)
	hidden := []string{secret, "registry", "raw_exec", "driver", stack.Cluster.NomadAddr, stack.Cluster.ConsulAddr, stack.Agent.API, "127.0.0.1:", "namespace", "\"bob\"", stack.Agent.Name, host}
	var refused harness.Response
	eventually(t, waitLong, func() error {
		refused, err = stack.Agent.Get(t.Context(), "broken", "/")
		if err == nil && refused.Status != http.StatusServiceUnavailable {
			err = fmt.Errorf("got %d %s", refused.Status, refused.Body)
		}
		return err
	})
	answers := map[string]harness.Response{"a service that can't start": refused}
	for name, host := range map[string]string{"no service": "nobody." + harness.Domain, "no domain": "evil.example", "no host": "x"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, stack.Agent.URL("/"), nil)
		must(t, "make a request", err)
		req.Host = host
		answers[name], err = harness.Do(http.DefaultClient, req)
		must(t, name, err)
	}
	for _, path := range []string{"/v1/agent/health", "/v1/services", "/v1/service/broken", "/v1/doctor", "/v1/agent/self", "/v1/status/leader", "/v1/nothing", "/"} {
		answers["open "+path] = ask(t, open, request{method: "GET", path: path})
	}
	for name, res := range answers {
		for _, text := range hidden {
			if strings.Contains(res.Body, text) || strings.Contains(strings.TrimPrefix(fmt.Sprint(res.Header), "map["), text) {
				t.Errorf("%s: the answer has %q: %d %v %s", name, text, res.Status, res.Header, res.Body)
			}
		}
		if server := res.Header.Get("Server"); server != "" {
			t.Errorf("%s: the answer names its server: %s", name, server)
		}
	}
	if _, err := harnesstest.Answer(refused, nil); err == nil {
		t.Error("it has started")
	}
}
