//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Without the mesh any client reaches an instance, and may send an activator's headers:
// its requests still count as load, and no app sees an unverified certificate. The
// activators' proof is shown nowhere.
func TestServing_ClaimsWithoutTheMesh(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("claimed", options{window: "60s", max: 1}))
	harnesstest.WantStatus(t, stack.Get(t, "claimed", "/"), 200)
	ports := portsOf(t, "claimed-00001")
	begun, proxied := harnesstest.BegunAt(t, ports[wadi.PortMetrics], 1)
	if begun != 1 || proxied != 1 {
		t.Errorf("after a call from outside: %g have begun, %g of them at an activator, want both 1", begun, proxied)
	}
	proof := proofOf(t, "claimed", "claimed-00001")
	for _, claim := range []string{"1", wadi.Proof(proof).Digest()} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ports[wadi.PortTraffic]+"/?headers=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(wadi.HeaderProxied, claim)
		req.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://a.consul/ns/default/dc/dc1/svc/wadi-activator")
		res, err := harness.Do(http.DefaultClient, req)
		if err != nil {
			t.Fatal(err)
		}
		harnesstest.WantStatus(t, res, 200)
		if strings.Contains(res.Body, "Wadi-") || strings.Contains(res.Body, "Client-Cert") {
			t.Errorf("the app saw:\n%s", res.Body)
		}
	}
	if begun, proxied = harnesstest.BegunAt(t, ports[wadi.PortMetrics], 3); begun != 3 || proxied != 1 {
		t.Errorf("after two calls that claim it: %g have begun, %g of them at an activator, want 3 and 1", begun, proxied)
	}

	var shown strings.Builder
	for _, args := range [][]string{{"service", "inspect", "claimed"}, {"revision", "list", "claimed"}, {"explain", "-json", "claimed"}} {
		ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), args...)
		if err != nil {
			t.Fatal(err)
		}
		shown.WriteString(ran.String())
	}
	job, _, err := stack.Nomad.Jobs().Info("claimed-00001", nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"the commands": shown.String(), "Nomad's job": string(raw), "the agent's log": stack.Agent.Tail(1 << 20)} {
		if strings.Contains(text, proof) {
			t.Errorf("the proof stands in %s:\n%s", where, text)
		}
	}
	if !strings.Contains(string(raw), wadi.Proof(proof).Digest()) {
		t.Errorf("the job knows no digest of it:\n%s", raw)
	}
}

// proofOf is the proof that agents read in Consul.
func proofOf(t *testing.T, service, revision string) string {
	t.Helper()
	pairs, _, err := stack.Consul.KV().List("wadi/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		var stored struct{ Data wadi.Route }
		if json.Unmarshal(p.Value, &stored) == nil && stored.Data.Service == service && stored.Data.Revisions[revision].Proof != "" {
			return string(stored.Data.Revisions[revision].Proof)
		}
	}
	t.Fatalf("no route among %d keys has a proof of %s", len(pairs), revision)
	return ""
}

// portsOf are the ports of a revision's only instance, by label.
func portsOf(t *testing.T, revision string) map[string]string {
	t.Helper()
	allocs, err := stack.Allocs(t.Context(), revision)
	if err != nil || len(allocs) != 1 {
		t.Fatalf("%d instances of %s, %v, want one", len(allocs), revision, err)
	}
	a, _, err := stack.Nomad.Allocations().Info(allocs[0].ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	ports := map[string]string{}
	for _, p := range a.AllocatedResources.Shared.Ports {
		ports[p.Label] = net.JoinHostPort(p.HostIP, fmt.Sprint(p.Value))
	}
	return ports
}

// The queue-proxy's errors have their reason in Wadi-Error, as all errors of Wadi.
func TestServing_ErrorOfADeadApp(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("dies", options{window: "60s", max: 1}))
	harnesstest.WantStatus(t, stack.Get(t, "dies", "/"), 200)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, harnesstest.URL("dies", "/?crash=1"), strings.NewReader("not to be sent twice"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := harness.Do(stack.Client(t), req)
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, res, 502)
	if got := res.Header.Get(wadi.HeaderError); got != "app_failed" {
		t.Errorf("got Wadi-Error %q, want app_failed: %v\n%s", got, res.Header, res.Body)
	}
}
