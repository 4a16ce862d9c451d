//go:build e2e

// Package dataplane_test proves what the data plane promises in every corner of HTTP, with
// the real binaries: client, gateway, queue-proxy, app, without a mesh and with Envoy and
// mTLS between them.
//
// All tests share one cluster and one agent; some start a second agent. Answers are read
// from the wire where a client library would hide what matters.
package dataplane_test

import (
	"fmt"
	"testing"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack is shared by all tests.
var stack *harnesstest.Stack

func TestMain(m *testing.M) { harnesstest.Main(m, &stack, harnesstest.Options{Parallel: 4}) }

// options are a test's changes to its service. The zero value is the app corners in the
// host's network, always with one instance.
type options struct {
	mesh     bool   // Bridge network and Envoy.
	command  string // Empty: corners.
	env      string // Of the app.
	protocol string // Empty: http1.
	limit    int    // concurrency.limit; 0: none.
	scale    string // Empty: one instance, always.
	queue    string // Inside of the queue block.
	timeout  string // Inside of the timeout block.
	probe    string // Empty: HTTP.
	more     string // More of the service block.
}

// fixed is the inside of a scale block for a constant count.
func fixed(n int) string {
	return fmt.Sprintf("min = %d\n    max = %d\n    initial = %d", n, n, n)
}

// atZero starts at zero and goes up to n.
func atZero(n int) string {
	return fmt.Sprintf("min = 0\n    max = %d\n    initial = 0\n    window = \"60s\"", n)
}

func service(name string, o options) string {
	network, mesh := "host", "off"
	if o.mesh {
		network, mesh = "bridge", "envoy"
	}
	return fmt.Sprintf(`service %q {
  network  = %q
  mesh     = %q
  protocol = %q
  instance {
    task "app" {
      driver = "raw_exec"
      config {
        command = %q
      }
      env {
        %s
      }
      resources {
        cpu    = 20
        memory = 64
      }
    }
  }
  probe {
    %s
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
    %s
  }
  %s
}
`, name, network, mesh, or(o.protocol, "http1"), or(o.command, "corners"), o.env, or(o.probe, `http = "/healthz"`),
		o.limit, o.queue, o.timeout, or(o.scale, fixed(1)), o.more)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// revision is a service's first revision.
func revision(service string) string { return service + "-00001" }

// up deploys a service and waits until it answers.
func up(t *testing.T, name string, o options) {
	t.Helper()
	stack.Deploy(t, service(name, o))
	harnesstest.WantStatus(t, stack.Get(t, name, "/healthz"), 200)
}

func must(t testing.TB, what string, err error) {
	t.Helper()
	harnesstest.Must(t, what, err)
}
