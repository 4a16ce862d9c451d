//go:build e2e

package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// With the agent's shield, a neighbour reaches only an instance's Envoy, its metrics port
// and its mapped ports. It reaches neither an app that listens on all addresses nor a port
// beside it: also after a restart of the queue-proxy, and in each instance. Mesh calls,
// checks and scaling go on.
func TestShield_KeepsNeighboursOut(t *testing.T) {
	deployShielded(t)
	wantFrom(t, callerA.Get(t, "shielded", "/"), "shielded-00001")
	waitDirect(t, callerA, "shielded") // Consul's check sees it at the metrics port.

	alloc, pid := waitProcess(t, "shielded-00001", "queue-proxy")
	wantShielded(t, alloc)
	must(t, "kill the queue-proxy", syscall.Kill(pid, syscall.SIGKILL))
	waitRestarted(t, alloc, "queue-proxy", 1)
	waitDirect(t, callerA, "shielded")
	wantShielded(t, alloc)

	_, err := stack.Agent.Client.Override(t.Context(), "shielded", "", 2, time.Hour)
	must(t, "override to two", err)
	eventually(t, waitLong, func() error {
		s, err := stack.Agent.Client.Service(t.Context(), "shielded")
		if err != nil {
			return err
		}
		for _, c := range s.Status.Conditions {
			if c.Type == "Shielded" {
				return harness.Final(fmt.Errorf("the status says %+v", c))
			}
		}
		n, err := stack.Running(t.Context(), "shielded-00001")
		if err == nil && n != 2 {
			err = fmt.Errorf("%d instances run", n)
		}
		return err
	})
	allocs, err := stack.Allocs(t.Context(), "shielded-00001")
	must(t, "list instances", err)
	for _, a := range allocs {
		wantShielded(t, a.ID)
	}
}

// deployShielded submits a service through its own agent with the setting; the shared
// agent manages it then.
func deployShielded(t *testing.T) {
	t.Helper()
	agent, err := stack.NewAgent("wadi-shield", "mesh {\n  shield = true\n}\n")
	must(t, "make an agent", err)
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		return agent.Stop(ctx)
	}
	must(t, "start it", agent.Start(t.Context()))
	t.Cleanup(func() { must(t, "stop the agent", stop()) })
	must(t, "wait for it", agent.WaitLeader(t.Context()))
	side := func(label string, port int) string {
		return fmt.Sprintf(`    task %q {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "ADDR=0.0.0.0 PORT=%d exec hello"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
`, label, port)
	}
	hcl := hello("shielded", options{max: 2, initial: 1, env: map[string]string{"ADDR": "0.0.0.0"}})
	hcl = strings.Replace(hcl, "  instance {\n", "  serving_task = \"web\"\n  instance {\n    network {\n      port \"extra\" {\n        to = 9100\n      }\n    }\n"+
		side("mapped", 9100)+side("unmapped", 9200), 1)
	_, err = agent.Submit(t.Context(), hcl)
	must(t, "submit", err)
	t.Cleanup(func() { stack.Remove(t, "shielded") })
	must(t, "stop the agent", stop())
	must(t, "wait until it is ready", stack.Agent.WaitReady(t.Context(), "shielded", 1))
	waitKnown(t, callerA, "shielded")
}

// wantShielded fails the test if an instance can be reached where it should not be. A call
// from inside proves that the app listens there.
func wantShielded(t *testing.T, alloc string) {
	t.Helper()
	host, inside := waitServes(t, alloc), "/var/run/netns/"+alloc
	for _, tt := range []struct {
		port string
		open bool
	}{{"8080", false}, {"9200", false}, {"9100", true}, {"9090", true}} {
		addr := net.JoinHostPort(host, tt.port)
		eventually(t, waitLong, func() error { return dials(t.Context(), inside, addr) })
		if tt.open {
			eventually(t, waitLong, func() error { return dials(t.Context(), callerA.Netns, addr) })
			continue
		}
		err := dials(t.Context(), callerA.Netns, addr)
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() {
			t.Errorf("a neighbour dials %s: %v, though it is shielded", addr, err)
		}
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, "8080"), 2*time.Second)
	if err == nil {
		_ = conn.Close() // Nothing was sent.
		t.Errorf("the node dials the app at %s", host)
	}
}

// waitServes waits until an instance reports that it is ready, and fails the test if it
// reports that callers can get past its queue-proxy.
func waitServes(t *testing.T, alloc string) (host string) {
	t.Helper()
	eventually(t, waitLong, func() error {
		a, _, err := stack.Nomad.Allocations().Info(alloc, nil)
		if err != nil || a.NetworkStatus == nil || a.NetworkStatus.Address == "" {
			return fmt.Errorf("%s has no address: %w", alloc, err)
		}
		host = a.NetworkStatus.Address
		res, err := http.Get("http://" + net.JoinHostPort(host, "9090") + "/v1/stats")
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if wide, why := res.Header.Get("Wadi-Wide"), res.Header.Get("Wadi-Unshielded"); wide+why != "" {
			return harness.Final(fmt.Errorf("the instance at %s is wide at %q, not shielded: %q", host, wide, why))
		}
		if res.Header.Get("Wadi-Ready") != "true" {
			return fmt.Errorf("the instance at %s is not ready: %v", host, res.Header)
		}
		return nil
	})
	return host
}

func dials(ctx context.Context, netns, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := harnesstest.DialIn(ctx, netns, addr)
	if err == nil {
		_ = conn.Close() // Nothing was sent.
	}
	return err
}
