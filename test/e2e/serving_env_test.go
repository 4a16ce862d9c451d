//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// References of a user's task to Wadi's variables have the same value in every instance
// and at every start, in env, arguments and templates. Nomad resolves references within an
// environment in random order: one start with 20 of them shows what 20 starts with one
// would.
func TestServing_EnvRefersToPort(t *testing.T) {
	t.Parallel()
	const instances = 3
	for _, network := range []string{"host", "bridge"} {
		name := "env" + network
		var env strings.Builder
		for i := range 20 {
			fmt.Fprintf(&env, "V%02d = \"${PORT} ${K_REVISION} ${WADI_SERVICE}\"\n", i)
		}
		stack.Deploy(t, fmt.Sprintf(`service %q {
  network = %q
  mesh    = "off"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo \"ARG=${PORT} ${K_REVISION} ${WADI_SERVICE}\"; env; echo printed=all; exec hello"]
      }
      env {
        %s
      }
      template {
        env         = true
        destination = "local/more.env"
        data        = <<-EOT
          T1=${PORT} ${K_REVISION} ${WADI_SERVICE}
          T2={{ env "PORT" }} {{ env "K_REVISION" }} {{ env "WADI_SERVICE" }}
        EOT
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  scale {
    min = %d
  }
}
`, name, network, env.String(), instances))
		for _, lines := range environments(t, name+"-00001", instances) {
			port := lines["PORT"]
			if network == "bridge" && port != "8080" || port == "" || strings.Contains(port, "$") {
				t.Errorf("%s: PORT is %q", network, port)
			}
			want := port + " " + name + "-00001 " + name
			for _, k := range append(names("V%02d", 20), "ARG", "T1", "T2") {
				if lines[k] != want {
					t.Errorf("%s: %s is %q, want %q", network, k, lines[k], want)
				}
			}
		}
	}
}

func names(format string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

// environments reads the environments that the instances' tasks have printed.
func environments(t *testing.T, revision string, instances int) []map[string]string {
	t.Helper()
	var all []map[string]string
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		all = nil
		live, err := stack.Allocs(t.Context(), revision)
		if err != nil {
			return err
		}
		for _, a := range live {
			lines, err := printed(&nomad.Allocation{ID: a.ID, NodeID: a.NodeID})
			if err != nil {
				return err
			}
			all = append(all, lines)
		}
		if len(all) != instances {
			return fmt.Errorf("%s has %d instances, want %d", revision, len(all), instances)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func printed(a *nomad.Allocation) (map[string]string, error) {
	r, err := stack.Nomad.AllocFS().Cat(a, "alloc/logs/web.stdout.0", nil)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	lines := map[string]string{}
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		lines[k] = v
	}
	if lines["printed"] == "" { // Nomad writes the log piece by piece.
		return nil, fmt.Errorf("%s has printed %q so far", a.ID, text)
	}
	return lines, nil
}
