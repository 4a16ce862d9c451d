package harnesstest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
)

// Init is what wadi init wrote for the stack's cluster, and says about it.
type Init struct {
	Dir          string
	Files, Notes []string
	Steps        []struct{ What, Command string }
	Chosen       struct {
		Mesh   bool
		Driver string
	}
}

// Init runs wadi init with these tokens, into a new folder. No file has a token.
func (s *Stack) Init(t *testing.T, tokens harness.Tokens, args ...string) (i Init) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "wadi")
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.Bin, "wadi"), append([]string{"init", "-dir", dir, "-yes", "-json", "-bin", s.Bin}, args...)...)
	cmd.Env = []string{"NOMAD_ADDR=" + s.Cluster.NomadAddr, "CONSUL_HTTP_ADDR=" + s.Cluster.ConsulAddr, "NOMAD_TOKEN=" + tokens.Nomad, "CONSUL_HTTP_TOKEN=" + tokens.Consul}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("init: %v: %s", err, out)
	}
	Must(t, "read what it did", json.Unmarshal(out, &i))
	for _, name := range i.Files {
		text := i.Read(t, name)
		for _, secret := range []string{tokens.Nomad, tokens.Consul} {
			if secret != "" && strings.Contains(text, secret) {
				t.Errorf("%s has a token", name)
			}
		}
	}
	return i
}

// Read is a file that it wrote.
func (i Init) Read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(i.Dir, name))
	Must(t, "read a file", err)
	return string(text)
}

// InitAgent starts an agent with the configuration that was written, and waits for it. Only
// where it listens, and its name, are the stack's. Its tokens are in its environment.
func (s *Stack) InitAgent(t *testing.T, i Init, name string, tokens harness.Tokens) *harness.Agent {
	t.Helper()
	a, err := s.NewAgent(name, "")
	Must(t, "configure an agent", err)
	made, err := os.ReadFile(a.Config)
	Must(t, "read the configuration", err)
	listeners, _, found := strings.Cut(string(made), "nomad {")
	if !found {
		t.Fatalf("the stack's configuration begins another way: %s", made)
	}
	base := strings.TrimSuffix(a.Config, ".hcl")
	Must(t, "configure the agent", os.WriteFile(a.Config, []byte(i.Read(t, "wadi.hcl")), 0o600))
	Must(t, "configure the agent", os.WriteFile(base+"-extra.hcl", []byte(listeners), 0o600))
	if err := os.Remove(base + "-tokens.hcl"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if tokens != (harness.Tokens{}) {
		a.Env = []string{"NOMAD_TOKEN=" + tokens.Nomad, "CONSUL_HTTP_TOKEN=" + tokens.Consul}
	}
	Must(t, "start the agent", a.Start(t.Context()))
	t.Cleanup(func() { Must(t, "stop the agent", a.Stop(context.WithoutCancel(t.Context()))) })
	Must(t, "wait for the agent", a.WaitLeader(t.Context()))
	return a
}
