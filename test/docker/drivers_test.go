//go:build e2e

package docker_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestDrivers wakes an app of each of Nomad's other isolating drivers from zero, beside a
// queue-proxy in a container.
func TestDrivers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, driver, network, config, want string }{
		{"by-exec", "exec", "bridge", `command = "/apps/hello"`, "hello from by-exec-00001"},
		{"by-java", "java", "host", `class = "App"
        class_path = "/shared"
        args = ["${PORT}"]
        jvm_options = ["-Xmx48m"]`, "hello from Java"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if why := lacks(t, tt.driver); why != "" {
				t.Skipf("SKIPPED: the driver %s: %s", tt.driver, why)
			}
			if tt.driver == "java" {
				compile(t, shared)
			}
			stack.Deploy(t, fmt.Sprintf(`service %q {
  network = %q
  mesh    = "off"
  instance {
    task "web" {
      driver = %q
      config {
        %s
      }
      resources {
        cpu    = 20
        memory = 128
      }
    }
  }
  timeout {
    progress = "3m"
  }
  %s
}
`, tt.name, tt.network, tt.driver, tt.config, fromZero))
			if got := ask(t, tt.name, "/"); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			stack.ToZero(t, tt.name+"-00001")
		})
	}
}

// lacks says why Nomad's node does not have a driver; empty if it does.
func lacks(t *testing.T, driver string) string {
	t.Helper()
	nodes, _, err := stack.Nomad.Nodes().List(nil)
	harnesstest.Must(t, "list nodes", err)
	node, _, err := stack.Nomad.Nodes().Info(nodes[0].ID, nil)
	harnesstest.Must(t, "read the node", err)
	switch d := node.Drivers[driver]; {
	case d == nil:
		return "Nomad does not know it"
	case !d.Detected || !d.Healthy:
		return "Nomad says: " + d.HealthDescription
	}
	return ""
}

// compile makes the class App of the folder's Java program.
func compile(t *testing.T, to string) {
	t.Helper()
	javac, err := exec.LookPath("javac")
	if err != nil {
		t.Skip("SKIPPED: the driver java: no javac on PATH")
	}
	if out, err := exec.CommandContext(t.Context(), javac, "-d", to, filepath.Join("testdata", "App.java")).CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	harnesstest.Must(t, "let others read it", os.Chmod(to, 0o755))
}
