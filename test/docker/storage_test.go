//go:build e2e

package docker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestStorage reads and writes in every kind of mount, and templates, from inside the
// container.
func TestStorage(t *testing.T) {
	t.Parallel()
	bound := t.TempDir()
	harnesstest.Must(t, "write", os.WriteFile(filepath.Join(bound, "old"), []byte("by the host"), 0o644))
	deploy(t, service{
		name: "stored",
		config: fmt.Sprintf(`volumes = ["%s:/bound"]
        mount {
          type     = "bind"
          source   = %q
          target   = "/readonly"
          readonly = true
        }
        mount {
          type   = "bind"
          source = "local/config.txt"
          target = "/etc/app/config.txt"
        }
        mount {
          type   = "tmpfs"
          target = "/scratch"
          tmpfs_options {
            size = 1048576
          }
        }
        mount {
          type   = "volume"
          source = "wadi-test-stored"
          target = "/named"
        }`, bound, bound),
		group: "volume \"data\" {\n  type   = \"host\"\n  source = \"shared\"\n}\n",
		task: `volume_mount {
        volume      = "data"
        destination = "/data"
      }
      template {
        destination = "local/config.txt"
        data        = "port {{ env \"PORT\" }} of {{ env \"WADI_SERVICE\" }}"
      }
      template {
        destination = "secrets/app.env"
        env         = true
        data        = "FROM_TEMPLATE=\"{{ env \"NOMAD_TASK_NAME\" }} on $${PORT}\""
      }`,
	})
	for path, want := range map[string]string{
		"/file?path=/bound/old":          "by the host",
		"/file?path=/readonly/old":       "by the host",
		"/file?path=/bound/new&text=x":   "x",
		"/file?path=/scratch/new&text=x": "x",
		"/file?path=/named/new&text=x":   "x",
		"/file?path=/data/new&text=x":    "x",
		"/file?path=/alloc/new&text=x":   "x",
		"/file?path=/etc/app/config.txt": "port 8080 of stored",
		"/file?path=/local/config.txt":   "port 8080 of stored",
		"/env?name=FROM_TEMPLATE":        "web on 8080",
		"/env?name=WADI_REVISION":        "stored-00001",
	} {
		expect(t, "stored", path, want)
	}
	if got := ask(t, "stored", "/mount?path=/scratch"); !strings.HasPrefix(got, "tmpfs ") || !strings.Contains(got, "size=1024k") {
		t.Errorf("the tmpfs is %q", got)
	}
	if res := stack.Get(t, "stored", "/file?path=/readonly/new&text=x"); res.Status != 500 || !strings.Contains(res.Body, "read-only file system") {
		t.Errorf("a write to a read-only mount: %d %q", res.Status, res.Body)
	}
	for file, dir := range map[string]string{"new": bound, "new ": shared} {
		if got, err := os.ReadFile(filepath.Join(dir, strings.TrimSpace(file))); err != nil || string(got) != "x" {
			t.Errorf("on the host: %q (%v)", got, err)
		}
	}
}

// TestLogging: Nomad collects an app's output unless it is told not to, or Docker's own
// driver does.
func TestLogging(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		service
		nomads bool // Nomad has the output.
		docker bool // Docker has it.
	}{
		{service{name: "logs-default"}, true, true},
		{service{name: "logs-json", config: "logging {\n type = \"json-file\"\n config {\n max-size = \"1m\"\n }\n }"}, true, true},
		{service{name: "logs-none", config: "logging {\n type = \"none\"\n }"}, false, false},
		{service{name: "logs-disabled", task: "logs {\n disabled = true\n }"}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.network = "host"
			deploy(t, tt.service)
			ask(t, tt.name, "/log?text=marked")
			if tt.nomads {
				harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
					res, err := stack.Agent.Wadi(t.Context(), "", "service", "logs", "-nomad-address", stack.Cluster.NomadAddr, tt.name)
					if err == nil && !strings.Contains(res.Stdout, "marked") {
						err = fmt.Errorf("wadi service logs: %s", res)
					}
					return err
				})
			}
			id := container(t, tt.name+"-00001", "web")
			logs := func() error { // The engine copies the output.
				out, err := engine.Docker(t.Context(), "logs", id)
				if has := err == nil && strings.Contains(out, "marked"); has != tt.docker {
					return fmt.Errorf("docker logs: %q (%v), want the output: %t", out, err, tt.docker)
				}
				return nil
			}
			harnesstest.Eventually(t, harnesstest.WaitLong, logs)
		})
	}
}
