package agent

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/agenttest"
	"github.com/wadi-run/wadi/agent/config"
)

func loaded(t *testing.T, file string) config.Config {
	t.Helper()
	cfg, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

// Two loads of one file don't differ, defaults of services and tasks included.
func TestDiffering(t *testing.T) {
	const example = "config/example.hcl"
	a, b := loaded(t, example), loaded(t, example)
	if got := differing(a, b); len(got) > 0 {
		t.Errorf("the same twice: %v differ", got)
	}
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "wadi.hcl")
	changed := strings.NewReplacer(`max_wakes         = 20`, `max_wakes = 30`, `window = "90s"`, `window = "80s"`, `queue-proxy:0.1`, `queue-proxy:0.2`).Replace(string(text))
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"activator", "queue_proxy", "defaults"}, differing(a, loaded(t, file))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReload(t *testing.T) {
	file, _ := agenttest.SecureConfig(t, false)
	cfg := loaded(t, file)
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: io.Discard})
	a, err := New(t.Context(), cfg, Deps{Log: log, AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	part := log.Named("part")
	cfg.LogLevel = "debug"
	if got := a.Reload(cfg); len(got) > 0 || !part.IsDebug() {
		t.Errorf("%v wait for a restart, level %s; want none, and debug", got, part.GetLevel())
	}
	cfg.LogLevel, cfg.Gateway.Domain = "warn", "other.example.com"
	if got := a.Reload(cfg); !cmp.Equal(got, []string{"gateway"}) || part.IsInfo() {
		t.Errorf("%v wait for a restart, level %s; want the gateway, and warn", got, part.GetLevel())
	}
}
