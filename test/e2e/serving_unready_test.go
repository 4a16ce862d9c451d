//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A running instance that is not ready reports what it lacks: apply shows it while it
// waits and when it gives up, and status and doctor show the same.
func TestServing_SaysWhatIsNotReady(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		o    options
		edit func(hcl string) string
		want string
	}{
		{name: "port-bridge", o: options{mesh: true, command: "sh", args: []string{"-c", "ADDR=0.0.0.0 PORT=3000 exec hello"}},
			want: "nothing listens on 127.0.0.1:8080 (the app listens on *:3000)"},
		{name: "port-host", o: options{command: "sh", args: []string{"-c", "PORT=0 exec hello"}},
			want: "(in a host network an app listens where PORT says)"},
		{name: "ipv6", o: options{mesh: true, env: map[string]string{"ADDR": "::1"}},
			want: "nothing listens on 127.0.0.1:8080 (the app listens on [::1]:8080)"},
		{name: "refuses", edit: func(hcl string) string { return strings.Replace(hcl, "/healthz", "/healthy?status=400", 1) },
			want: "GET /healthy?status=400 was answered 400 (the probe's Host is 127.0.0.1:"},
		{name: "template", edit: func(hcl string) string {
			return strings.Replace(hcl, "resources {", `template {
        data        = "{{ with nomadVar \"nomad/jobs/nowhere\" }}{{ .key }}{{ end }}"
        destination = "local/key"
      }
      resources {`, 1)
		}, want: "task web: waits for nomad.var.block(nomad/jobs/nowhere@default.global)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name := "unready-" + tt.name
			tt.o.timeout = `progress = "45s"`
			hcl := hello(name, tt.o)
			if tt.edit != nil {
				hcl = tt.edit(hcl)
			}
			file := filepath.Join(t.TempDir(), "service.hcl")
			if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stack.Remove(t, name) })
			out, err := command(t.Context(), "apply", file)
			if err == nil || !strings.Contains(out, "failed, ") {
				t.Errorf("apply: %v\n%s", err, out)
			}
			waiting, failed, _ := strings.Cut(out, "failed, ")
			for what, text := range map[string]string{"while it waited": waiting, "at its end": failed} {
				if !strings.Contains(text, tt.want) {
					t.Errorf("%s apply did not say %q:\n%s", what, tt.want, out)
				}
			}
			for _, args := range [][]string{{"service", "status", name}, {"doctor"}} {
				err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
					if out, _ := command(t.Context(), args...); !strings.Contains(out, tt.want) {
						return fmt.Errorf("%v did not say %q:\n%s", args, tt.want, out)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// command runs the command line against the stack's agent.
func command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(stack.Bin, "wadi"), args...)
	cmd.Env = append(os.Environ(), "WADI_ADDR=http://"+stack.Agent.API)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
