//go:build e2e

package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// An instance may have further ports, static and dynamic, in either network; the service
// is served beside them.
func TestServing_FurtherPorts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		network, mesh, admin, fixed string
	}{
		{"host", "off", "", ""},
		{"bridge", "off", "to = 9000", "to = 9001"},
		{"bridge", "envoy", "to = 9000", "to = 9001"},
	} {
		name := "ports" + tt.network + tt.mesh
		free, err := freeport.Ports(1)
		harnesstest.Must(t, "find a free port", err)
		side := func(label string) string {
			return fmt.Sprintf(`
    task "side-%[1]s" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "ADDR=0.0.0.0 PORT=${NOMAD_PORT_%[1]s} WADI_REVISION=%[1]s exec hello"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }`, label)
		}
		submitted := stack.Deploy(t, fmt.Sprintf(`service %q {
  network      = %q
  mesh         = %q
  serving_task = "web"
  instance {
    network {
      port "admin" {
        %s
      }
      port "fixed" {
        static = %d
        %s
      }
    }
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }%s%s
  }
  scale {
    min = 1
    max = 1
  }
}
`, name, tt.network, tt.mesh, tt.admin, free[0], tt.fixed, side("admin"), side("fixed")))
		if got := strings.Join(submitted[0].Warnings, "\n"); !strings.Contains(got, "static port") {
			t.Errorf("%s: no warning of the static port, but %q", name, got)
		}
		harnesstest.WantStatus(t, stack.Get(t, name, "/"), 200)
		for label, addr := range furtherPortsOf(t, name+"-00001") {
			if label == "fixed" && addr != net.JoinHostPort(stack.Cluster.HostIP, strconv.Itoa(free[0])) {
				t.Errorf("%s: the static port is at %s, want %d", name, addr, free[0])
			}
			var res harness.Response
			err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() (err error) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/", nil)
				if err == nil {
					res, err = harness.Do(http.DefaultClient, req)
				}
				return err
			})
			if want := "hello from " + label + " "; err != nil || !strings.HasPrefix(res.Body, want) {
				t.Errorf("%s: port %s at %s: got %q (%v), want %q", name, label, addr, res.Body, err, want)
			}
		}
	}
}

// furtherPortsOf finds the user's ports of the only instance.
func furtherPortsOf(t *testing.T, revision string) map[string]string {
	t.Helper()
	live, err := stack.Allocs(t.Context(), revision)
	if err != nil || len(live) != 1 {
		t.Fatalf("%s has %d instances (%v), want 1", revision, len(live), err)
	}
	alloc, _, err := stack.Nomad.Allocations().Info(live[0].ID, (&nomad.QueryOptions{}).WithContext(t.Context()))
	harnesstest.Must(t, "read the allocation", err)
	all := map[string]string{}
	for _, p := range alloc.AllocatedResources.Shared.Ports {
		if p.Label == "admin" || p.Label == "fixed" {
			all[p.Label] = net.JoinHostPort(p.HostIP, strconv.Itoa(p.Value))
		}
	}
	if len(all) != 2 {
		t.Fatalf("%s has the ports %+v", revision, alloc.AllocatedResources.Shared.Ports)
	}
	return all
}
