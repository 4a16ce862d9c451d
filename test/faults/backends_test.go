//go:build e2e

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/devcluster/process"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// backend is Consul or Nomad.
type backend struct {
	name, addr string
	process    *process.Process
}

func backends() []backend {
	return []backend{
		{"Consul", stack.Cluster.ConsulAddr, stack.Cluster.Consul},
		{"Nomad", stack.Cluster.NomadAddr, stack.Cluster.Nomad},
	}
}

// away stops a backend until the end of the test.
func (b backend) away(t *testing.T) {
	t.Helper()
	harnesstest.Must(t, "stop "+b.name, b.process.Stop(t.Context()))
	t.Cleanup(func() {
		if !b.process.Running() {
			harnesstest.Must(t, "start "+b.name, b.process.Start(context.WithoutCancel(t.Context())))
		}
		harnesstest.Must(t, "wait for the agent", stack.Agent.WaitLeader(context.WithoutCancel(t.Context())))
	})
}

func (b backend) back(t *testing.T) {
	t.Helper()
	harnesstest.Must(t, "start "+b.name, b.process.Start(t.Context()))
}

// healthOf is the status and the text of an agent's health.
func healthOf(a *harness.Agent) (int, string, error) {
	res, err := http.Get("http://" + a.API + "/v1/agent/health")
	if err != nil {
		return 0, "", err
	}
	body, err := readAll(res)
	return res.StatusCode, body, err
}

// An agent that starts without Consul or Nomad says what it waits for, and continues by
// itself.
func TestBackendAway_AtStart(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("patient", `window = "1h"`, ""))
	before := jobs(t, "patient-00001")
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			harnesstest.Must(t, "stop the agent", stack.Agent.Stop(t.Context()))
			b.away(t)
			harnesstest.Must(t, "start the agent", stack.Agent.Start(t.Context()))
			eventually(t, harnesstest.WaitLong, func() error {
				code, text, err := healthOf(stack.Agent)
				if want := "waits for " + b.name + " at " + b.addr; err == nil && (code != 503 || !strings.Contains(text, want)) {
					err = fmt.Errorf("got health %d %s, want 503 and %q", code, text, want)
				}
				return err
			})
			res, err := stack.Agent.Get(t.Context(), "patient", "/")
			if err != nil || res.Status != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get("Wadi-Error") != "starting" || strings.Contains(res.Body, b.addr) {
				t.Errorf("the gateway meanwhile: got %d %v %q, error %v; want 503 with Retry-After, and no address: it is anybody's to read",
					res.Status, res.Header, res.Body, err)
			}
			ready, err := http.Get("http://" + stack.Agent.Metrics + "/ready")
			if err != nil || ready.StatusCode != 503 {
				t.Errorf("/ready meanwhile: got %+v, error %v; want 503", ready, err)
			} else {
				_, _ = readAll(ready)
			}
			b.back(t)
			harnesstest.Must(t, "wait for the agent", stack.Agent.WaitLeader(t.Context()))
			wantAnswer(t, stack.Agent, "patient", "/")
		})
	}
	// After the restarts, Consul still has its registrations and Nomad its jobs.
	wantSame(t, before, "after both")
}

// A submission while Consul or Nomad is away is refused, and leaves nothing behind.
func TestBackendAway_AtSubmit(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			name := "lost-" + strings.ToLower(b.name)
			b.away(t)
			ran := wadi(t, map[string]string{"lost.hcl": harnesstest.Hello(name, "", "")}, "apply", "lost.hcl")
			if ran.Code != 1 || !strings.Contains(strings.ToLower(ran.Stderr), "unavailable") {
				t.Errorf("got %v\nwant exit code 1 and that something is unavailable", ran)
			}
			res, err := put(stack.Agent, name)
			if err != nil || res.Status != 503 {
				t.Errorf("got status %d (%v), want 503:\n%s", res.Status, err, res.Body)
			}
			b.back(t)
			harnesstest.Must(t, "wait for the agent", stack.Agent.WaitLeader(t.Context()))
			wantNothingOf(t, name)
		})
	}
}

// put submits a service with plain HTTP.
func put(a *harness.Agent, name string) (harness.Response, error) {
	body := fmt.Sprintf(`{"files": [{"name": "x.hcl", "source": %q}]}`, harnesstest.Hello(name, "", ""))
	req, err := http.NewRequest(http.MethodPut, "http://"+a.API+"/v1/services", strings.NewReader(body))
	if err != nil {
		return harness.Response{}, err
	}
	return harness.Do(http.DefaultClient, req)
}

// read sends a GET to an agent's API.
func read(a *harness.Agent, path string) (harness.Response, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+a.API+path, nil)
	if err != nil {
		return harness.Response{}, err
	}
	return harness.Do(http.DefaultClient, req)
}

// wantNothingOf fails the test if anything of a service is in Nomad or Consul.
func wantNothingOf(t *testing.T, name string) {
	t.Helper()
	if n, err := stack.Count(t.Context(), name+"-00001"); err != nil || n != -1 {
		t.Errorf("got job %s-00001 with count %d (%v), want none", name, n, err)
	}
	keys, _, err := stack.Consul.KV().Keys("wadi/", "", nil)
	if err != nil {
		t.Errorf("list keys: %v", err)
	}
	for _, k := range keys {
		if strings.Contains(k, name) {
			t.Errorf("got key %s, want none of %s", k, name)
		}
	}
}

// Without Consul, and then without Nomad, warm services are served, nothing is scaled to
// zero for lack of data, and everything recovers by itself.
func TestBackendAway_InRunning(t *testing.T) {
	stack.Deploy(t, harnesstest.HelloInMesh("webbed", nil, "min = 1\n window = \"6s\"", "")+
		harnesstest.Hello("warm", `window = "1h"`, "")+harnesstest.Hello("busy", `window = "6s"`, "")+harnesstest.Hello("napping", `window = "6s"`, "")+
		harnesstest.Hello("asleep", `window = "6s"`, "queue {\n timeout = \"5s\"\n}"))
	call := outsider(t, "webbed")
	stack.ToZero(t, "napping-00001")
	stack.ToZero(t, "asleep-00001")
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			wantAnswer(t, stack.Agent, "warm", "/")
			busy := drive(t, 2, 50*time.Millisecond, through(stack.Agent, "busy", "/"))
			eventually(t, harnesstest.WaitLong, func() error {
				n, err := stack.Running(t.Context(), "busy-00001")
				allocs, listed := stack.Allocs(t.Context(), "busy-00001")
				if err = errors.Join(err, listed); err != nil || n < 1 || len(allocs) != n {
					// An instance that still ends would be missing from the comparison later.
					return fmt.Errorf("busy has %d running instances of %d (%w)", n, len(allocs), err)
				}
				return nil
			})
			before := jobs(t, "webbed-00001", "warm-00001", "busy-00001", "napping-00001", "asleep-00001")
			mesh := drive(t, 2, 50*time.Millisecond, call)
			web := drive(t, 2, 50*time.Millisecond, through(stack.Agent, "webbed", "/"))

			b.away(t)
			pause(t, 15*time.Second)
			if b.name == "Consul" { // A wake needs Nomad only.
				wantAnswer(t, stack.Agent, "napping", "/")
				delete(before, "napping-00001")
			} else {
				res, err := stack.Agent.Get(t.Context(), "asleep", "/") // One that does not wait for long.
				if err != nil || res.Status != 504 && res.Status != 503 {
					t.Errorf("at zero without Nomad: got status %d (%v), want 503 or 504: %s", res.Status, err, res.Body)
				}
			}
			b.back(t)
			// The cluster's only Consul is also Envoy's server, and starts with all its
			// checks critical: its restart may cost mesh callers some seconds, its absence
			// nothing.
			pause(t, 3*time.Second)
			harnesstest.Must(t, "wait for the agent", stack.Agent.WaitLeader(t.Context()))
			busy.WantAll(t, 20)
			web.WantAll(t, 20)
			if b.name == "Nomad" {
				mesh.WantAll(t, 20)
			} else {
				mesh.WaitRow(t, 50) // How many fail before depends on how long Consul takes to start.
				mesh.Stop()
				t.Logf("in the mesh: %v", mesh)
			}
			if b.name == "Nomad" {
				delete(before, "asleep-00001") // Its request may wake it now.
			}
			wantSame(t, before, "after the absence")
			eventually(t, harnesstest.WaitLong, func() error { return leads(stack.Agent) })
			stack.ToZero(t, "busy-00001")
			stack.ToZero(t, "napping-00001")
			wantAnswer(t, stack.Agent, "busy", "/")
		})
	}
}

// A backend that hangs, without refusing connections, counts as away too.
func TestBackendHangs(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("calm", `window = "1h"`, ""))
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			harnesstest.Must(t, "pause "+b.name, b.process.Pause())
			t.Cleanup(func() {
				harnesstest.Must(t, "resume "+b.name, b.process.Resume())
				harnesstest.Must(t, "wait for the agent", stack.Agent.WaitLeader(context.WithoutCancel(t.Context())))
			})
			load := drive(t, 2, 50*time.Millisecond, through(stack.Agent, "calm", "/"))
			ask := func() (harness.Response, error) { return put(stack.Agent, "stuck") }
			if b.name == "Consul" { // Reads time out sooner.
				ask = func() (harness.Response, error) { return read(stack.Agent, "/v1/services") }
			}
			res, err := ask()
			if err != nil || res.Status != 503 {
				t.Errorf("got status %d (%v) after %v, want 503:\n%s", res.Status, err, res.Took, res.Body)
			}
			t.Logf("refused after %v", res.Took)
			load.WantAll(t, 5)
			harnesstest.Must(t, "resume "+b.name, b.process.Resume())
			harnesstest.Must(t, "wait for the agent", stack.Agent.WaitLeader(t.Context()))
			eventually(t, harnesstest.WaitLong, func() error { return leads(stack.Agent) })
			wantNothingOf(t, "stuck")
		})
	}
}
