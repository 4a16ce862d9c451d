//go:build e2e

package docker_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestMemory lets the kernel kill the app for more memory than it has: that reason is what
// status and events say.
func TestMemory(t *testing.T) {
	t.Parallel()
	for _, s := range []service{{name: "hungry-host", network: "host"}, {name: "hungry-bridge"}} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			deploy(t, s)
			if res := stack.Get(t, s.name, "/take?mb=200"); res.Status != http.StatusBadGateway {
				t.Fatalf("got %d %q, want 502 from an app that is killed", res.Status, res.Body)
			}
			wantSteady(t, s.name, control.ReasonOOM, "the app (task web) was killed for want of memory")
			wantEvent(t, s.name, control.EventOOM)
		})
	}
}

// TestMemory_Child: the kernel kills a child of the app for want of memory while process 1
// lives. Nomad learns nothing of it until process 1 ends, for whatever reason.
func TestMemory_Child(t *testing.T) {
	t.Parallel()
	deploy(t, service{name: "parent"})
	if got := ask(t, "parent", "/child?mb=200"); got != "signal: killed" {
		t.Fatalf("the child ended with %q", got)
	}
	expect(t, "parent", "/", "inside\n")
	svc, err := stack.Agent.Client.Service(t.Context(), "parent")
	harnesstest.Must(t, "read the status", err)
	for _, c := range svc.Status.Conditions {
		if c.Type == control.ConditionSteady {
			t.Errorf("got %+v though the app runs", c)
		}
	}
	stack.Get(t, "parent", "/exit?code=3")
	wantSteady(t, "parent", control.ReasonOOM, "the app (task web) exited with code 3, after a process of it was killed for want of memory")
}

func wantSteady(t *testing.T, name, reason, message string) {
	t.Helper()
	want := fmt.Sprintf("Steady: %s: %s", reason, message)
	err := stack.Agent.WaitCondition(t.Context(), name, harnesstest.WaitLong, want, func(c wadi.Condition) bool {
		return c.Type == control.ConditionSteady && c.Reason == reason && strings.HasPrefix(c.Message, name+"-00001: "+message)
	})
	harnesstest.Must(t, "read the status", err)
}

func wantEvent(t *testing.T, service, kind string) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		got, err := stack.Agent.Wadi(t.Context(), "", "events", "-service", service)
		if err == nil && !strings.Contains(got.Stdout, kind) {
			err = fmt.Errorf("got %s, want an event %s", got, kind)
		}
		return err
	})
}

// TestMissingImage: apply says what the engine said about the pull.
func TestMissingImage(t *testing.T) {
	t.Parallel()
	s := service{name: "unboxed", network: "host", image: "missing"}
	err := stack.Agent.Apply(t.Context(), strings.Replace(s.String(), `progress = "3m"`, `progress = "20s"`, 1))
	if err == nil || !strings.Contains(err.Error(), images["missing"]) {
		t.Errorf("apply of a missing image: %v, want Nomad's reason with the image's name", err)
	}
	t.Logf("reason: %v", err)
	harnesstest.Must(t, "delete", stack.Agent.Delete(t.Context(), "unboxed"))
}
