//go:build e2e

package rights_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A caller's tokens are used for what the caller wants, and then forgotten: they are in no
// log, no key, no job and no entry, and no answer repeats them.
func TestLeaks_CallersTokens(t *testing.T) {
	c := &cluster{}
	nomadToken := c.token(t, `namespace "default" { policy = "write" }`).SecretID
	harnesstest.Must(t, "write a policy", stack.SetConsulPolicy(t.Context(), "leaks", `service "leaked" {
		policy     = "write"
		intentions = "write"
	}`))
	consulToken, err := stack.ConsulToken(t.Context(), "leaks", "leaks")
	harnesstest.Must(t, "make a token", err)
	follower, err := stack.NewAgent("wadi-follower", "")
	harnesstest.Must(t, "configure a follower", err)
	harnesstest.Must(t, "start the follower", follower.Start(t.Context()))
	t.Cleanup(func() { harnesstest.Must(t, "stop the follower", follower.Stop(context.WithoutCancel(t.Context()))) })
	harnesstest.Must(t, "wait for the follower", follower.WaitLeader(t.Context()))
	secrets := map[string]string{"Nomad": nomadToken, "Consul": consulToken.SecretID}
	hello := inMesh("leaked", `min = 1`)
	for _, a := range []*harness.Agent{stack.Agent, follower} {
		as := *a
		as.Tokens = harness.Tokens{Nomad: nomadToken, Consul: consulToken.SecretID}
		for _, args := range [][]string{
			{"apply", "-detach", "hello.hcl"}, {"plan", "hello.hcl"}, {"validate", "hello.hcl"}, {"service", "status", "leaked"}, {"explain", "leaked"},
			{"service", "scale", "-for", "1s", "leaked", "0"}, {"doctor"}, {"events", "-service", "leaked"}, {"service", "logs", "leaked"},
			{"service", "status", "nobody"}, {"service", "delete", "nobody"},
		} {
			ran := run(t, &as, hello, args...)
			if args[0] == "apply" && ran.Code != 0 {
				t.Fatalf("apply: %s", ran)
			}
			notIn(t, strings.Join(args, " "), ran.String(), secrets)
		}
		mangled(t, a, secrets)
	}
	lookEverywhere(t, secrets)
	as := *stack.Agent
	as.Tokens = harness.Tokens{Nomad: nomadToken, Consul: consulToken.SecretID}
	if ran := run(t, &as, "", "service", "delete", "leaked"); ran.Code != 0 {
		t.Errorf("delete: %s", ran)
	}
	lookEverywhere(t, secrets)
}

// unpacked is a stored value as text.
func unpacked(b []byte) string {
	if r, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
		if text, err := io.ReadAll(r); err == nil {
			return string(text)
		}
	}
	return string(b)
}

// mangled sends tokens in wrong places, and in broken requests.
func mangled(t *testing.T, a *harness.Agent, secrets map[string]string) {
	t.Helper()
	for _, path := range []string{"/v1/services?token=TOKEN", "/v1/service/TOKEN", "/v1/nowhere/TOKEN", "/v1/service/leaked?index=TOKEN"} {
		for _, header := range []string{"X-Nomad-Token", "X-Consul-Token", "Authorization", "X-Forwarded-For", "Wadi-Forwarded"} {
			// The token in a path or a query is the caller's own doing, and answers may
			// repeat it; a header is where a token belongs.
			path := strings.ReplaceAll(path, "TOKEN", "x")
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.API+path, nil)
			harnesstest.Must(t, "make a request", err)
			req.Header.Set(header, "Bearer "+secrets["Nomad"])
			res, err := harness.Do(&http.Client{Timeout: 30 * time.Second}, req)
			harnesstest.Must(t, "ask", err)
			notIn(t, path+" with "+header, res.Body, secrets)
		}
	}
}

// lookEverywhere looks for secrets in logs, in Consul and in Nomad.
func lookEverywhere(t *testing.T, secrets map[string]string) {
	t.Helper()
	seen := 0
	for _, dir := range []string{stack.Dir, stack.Cluster.Dir} {
		files, err := filepath.Glob(filepath.Join(dir, "*.log"))
		harnesstest.Must(t, "find logs", err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			harnesstest.Must(t, "read a log", err)
			notIn(t, file, string(text), secrets)
			seen++
		}
	}
	if seen < 6 { // Two agents, and four of Nomad and Consul.
		t.Errorf("%d logs were found", seen)
	}
	pairs, _, err := stack.Consul.KV().List("", nil)
	harnesstest.Must(t, "list keys", err)
	for _, p := range pairs {
		notIn(t, "the key "+p.Key, unpacked(p.Value), secrets)
	}
	for _, kind := range []string{consulapi.ServiceDefaults, consulapi.ServiceResolver, consulapi.ServiceSplitter, consulapi.ServiceRouter, consulapi.ServiceIntentions} {
		entries, _, err := stack.Consul.ConfigEntries().List(kind, nil)
		harnesstest.Must(t, "list entries", err)
		notIn(t, kind, encoded(t, entries), secrets)
	}
	catalog, _, err := stack.Consul.Catalog().Node("wadi-dev-client", nil)
	harnesstest.Must(t, "read the catalog", err)
	notIn(t, "the catalog", encoded(t, catalog), secrets)
	everywhere := &nomadapi.QueryOptions{Namespace: nomadapi.AllNamespacesNamespace}
	jobs, _, err := stack.Nomad.Jobs().List(everywhere)
	harnesstest.Must(t, "list jobs", err)
	if len(pairs) == 0 {
		t.Error("there are no keys to look at")
	}
	for _, j := range jobs {
		versions, _, _, err := stack.Nomad.Jobs().Versions(j.ID, false, &nomadapi.QueryOptions{Namespace: j.Namespace})
		harnesstest.Must(t, "read the job "+j.ID, err)
		notIn(t, "the job "+j.ID, encoded(t, versions), secrets)
	}
	allocs, _, err := stack.Nomad.Allocations().List(everywhere)
	harnesstest.Must(t, "list allocations", err)
	notIn(t, "the allocations", encoded(t, allocs), secrets)
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	harnesstest.Must(t, "encode", err)
	return string(b)
}

// notIn fails the test if a text has a secret.
func notIn(t *testing.T, where, text string, secrets map[string]string) {
	t.Helper()
	for of, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the caller's token of %s is in %s", of, where)
		}
	}
}
