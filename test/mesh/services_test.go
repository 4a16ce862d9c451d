//go:build e2e

package mesh_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// waitLong bounds waits that take seconds on an idle machine.
const waitLong = harnesstest.WaitLong

// requestTimeout bounds a request that is not meant to be long.
const requestTimeout = waitLong

// options are a test's changes to its service of the example app. The zero value scales
// from zero to one, and stays up however long a busy machine needs between two requests.
type options struct {
	env      map[string]string // Of the app.
	window   string            // Empty: 1h.
	min, max int               // max 0: 1.
	initial  int
	queue    string // More of the queue block.
	scale    string // More of the scale block.
	more     string // More of the service block.
}

// hello renders a service of the example app in the mesh.
func hello(name string, o options) string {
	var env strings.Builder
	for _, k := range slices.Sorted(maps.Keys(o.env)) {
		fmt.Fprintf(&env, "        %s = %q\n", k, o.env[k])
	}
	if o.window == "" {
		o.window = "1h"
	}
	return fmt.Sprintf(`service %q {
  network = "bridge"
  mesh    = "envoy"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      env {
%s      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  probe {
    http = "/healthz"
  }
  queue {
    quiet = [%q]
    %s
  }
  scale {
    min         = %d
    max         = %d
    initial     = %d
    window      = %q
    manual_hold = "5m" # A count of zero stands until all instances are gone.
    %s
  }
  %s
}
`, name, env.String(), quietPath, o.queue, o.min, max(o.max, 1), o.initial, o.window, o.scale, o.more)
}

// deploy applies services, waits until they are ready and callers' Envoys know them,
// and deletes them at the end.
func deploy(t *testing.T, hcl string) {
	t.Helper()
	for _, s := range stack.Deploy(t, hcl) {
		if slices.Contains(callees, s.Name) {
			waitKnown(t, callerA, s.Name)
			waitKnown(t, callerB, s.Name)
		}
	}
}

// quietPath wakes no service of the tests.
const quietPath = "/quiet"

// waitKnown waits until a caller's Envoy forwards requests to the service, or to the
// activator under the service's name. It wakes nothing.
func waitKnown(t *testing.T, c *caller, service string) {
	t.Helper()
	err := harness.Eventually(t.Context(), waitLong, func() error {
		res, err := c.Send(t, http.MethodGet, service, quietPath, nil, nil)
		// A caller without permission gets 403.
		if err == nil && res.Status != http.StatusOK && res.Status != http.StatusForbidden &&
			res.Header.Get(activator.HeaderError) != activator.CodeQuiet {
			err = fmt.Errorf("status %d: %v %s", res.Status, res.Header, res.Body)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s does not know %s: %v\n%s", c.Name, service, err, stack.LogOf(service, 40))
	}
}

// toZero sets a revision without requests to zero, and waits until no instance is left and
// no caller's Envoy knows one.
func toZero(t *testing.T, revision string) {
	t.Helper()
	stack.ZeroByHand(t, revision)
	for _, c := range []*caller{callerA, callerB} {
		eventually(t, waitLong, func() error { return c.Forgot(t.Context(), revision) })
	}
}

// wantFrom fails the test unless the answer is 200 and from the revision.
func wantFrom(t *testing.T, res harness.Response, revision string) {
	t.Helper()
	harnesstest.WantStatus(t, res, 200)
	if got := res.Header.Get("Hello-Revision"); got != revision {
		t.Errorf("got an answer of %q, want %s:\n%v\n%s", got, revision, res.Header, res.Body)
	}
}

// eventually waits until try returns nil, and fails the test if it does not in time.
func eventually(t *testing.T, within time.Duration, try func() error) {
	t.Helper()
	harnesstest.Eventually(t, within, try)
}

// must fails the test on an error.
func must(t *testing.T, what string, err error) {
	t.Helper()
	harnesstest.Must(t, what, err)
}
