//go:build e2e

// Package rights_test proves who may do what, where Nomad and Consul deny what no policy
// allows: the rights of agents, of their callers, and of agents in a job of Nomad.
//
// All tests share one cluster and one agent, and none is parallel: they take rights away.
package rights_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack is shared by the tests that need instances: its agents have the least policies,
// and use client agents of Nomad and Consul.
var stack *harnesstest.Stack

func TestMain(m *testing.M) {
	harnesstest.Main(m, &stack, harnesstest.Options{Stack: harness.Options{ACLs: true}})
}

// inMesh renders a service of the example app in the mesh, which outside callers and one service may call.
func inMesh(name, scale string) string {
	return fmt.Sprintf(`service %q {
  network = "bridge"
  mesh    = "envoy"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  probe {
    http = "/healthz"
  }
  intentions {
    allow = ["somebody"]
  }
  scale {
    %s
  }
}
`, name, scale)
}

// answers waits until a service answers through the gateway.
func answers(t *testing.T, a *harness.Agent, service string) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		res, err := a.Get(t.Context(), service, "/")
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("got %d: %s", res.Status, res.Body)
		}
		return err
	})
}
