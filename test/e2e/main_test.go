//go:build e2e

// Package e2e_test proves what Wadi promises, on a real Nomad, Consul and Envoy.
//
// All tests share one cluster and one agent. Each test has its own service and removes it.
// A test that stops or breaks a shared part must not call t.Parallel, and restores the
// part.
package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack is shared by all tests.
var stack *harnesstest.Stack

func TestMain(m *testing.M) {
	harnesstest.Main(m, &stack, harnesstest.Options{
		// Wadi uses a client agent of Nomad, as on most machines, not a server.
		Parallel: 5, Stack: harness.Options{NomadClientAgent: true},
	})
}

// options are a test's changes to its service of the example app. The zero value is the
// cheapest: host network, no mesh, zero after six seconds.
type options struct {
	mesh     bool              // Bridge network and Envoy.
	command  string            // Empty: hello.
	args     []string          // Of command.
	env      map[string]string // Of the app.
	window   string            // Empty: 6s.
	limit    int               // concurrency.limit; 0: none.
	target   float64           // Of the metric concurrency; 0: the default.
	min      int
	max      int    // 0: the agent's.
	queue    string // Inside of the queue block.
	timeout  string // Inside of the timeout block.
	scale    string // More of the scale block.
	instance string // More of the instance block.
	service  string // More of the service block.
}

// hello renders a service of the example app.
func hello(name string, o options) string {
	network, mesh := "host", "off"
	if o.mesh {
		network, mesh = "bridge", "envoy"
	}
	var env strings.Builder
	for _, k := range slices.Sorted(maps.Keys(o.env)) {
		fmt.Fprintf(&env, "        %s = %q\n", k, o.env[k])
	}
	metric := ""
	if o.target > 0 {
		metric = fmt.Sprintf("metric \"concurrency\" {\n      target = %g\n    }", o.target)
	}
	var args []string
	for _, a := range o.args {
		args = append(args, strconv.Quote(a))
	}
	return fmt.Sprintf(`service %q {
  network = %q
  mesh    = %q
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = %q
        args    = [%s]
      }
      env {
%s      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
    %s
  }
  probe {
    http = "/healthz"
  }
  concurrency {
    limit = %d
  }
  queue {
    %s
  }
  timeout {
    %s
  }
  scale {
    min    = %d
    max    = %d
    window = %q
    %s
    %s
  }
  %s
}
`, name, network, mesh, or(o.command, "hello"), strings.Join(args, ", "), env.String(), o.instance, o.limit, o.queue, o.timeout,
		o.min, o.max, or(o.window, "6s"), o.scale, metric, o.service)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
