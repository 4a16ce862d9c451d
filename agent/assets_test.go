package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/agenttest"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/assets"
)

// serving is an agent that serves programs, and is not run. Its own program is this test's,
// beside which there is no queue-proxy.
func serving(t *testing.T, c config.Assets) *Agent {
	t.Helper()
	file, _ := agenttest.SecureConfig(t, false)
	cfg, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.Assets = c
	a, err := New(t.Context(), cfg, Deps{Log: hclog.NewNullLogger(), AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// Programs are served by the public listener, and by no other; without the block by none.
func TestAssets_Listener(t *testing.T) {
	get := func(h http.Handler) int {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", assets.Path, nil))
		return rec.Code
	}
	a := serving(t, config.Assets{Dir: t.TempDir()})
	if got := get(a.metricsHandler()); got != http.StatusOK {
		t.Errorf("listed with %d", got)
	}
	if got := get(a.api.server.Handler()); got != http.StatusNotFound && got != http.StatusUnauthorized {
		t.Errorf("the API answers %d", got)
	}
	if got := get(unconnected(t).metricsHandler()); got != http.StatusNotFound {
		t.Errorf("without the block: %d", got)
	}
}

// An agent without a program for a node's architecture takes no submission, and says so.
func TestAssets_NoProgram(t *testing.T) {
	a := serving(t, config.Assets{Dir: t.TempDir(), URL: "http://10.0.0.5:4748", Arch: []string{"amd64", "arm64"}})
	d := a.download(a.cfg.Assets)
	if _, err := d(); err == nil || !strings.Contains(err.Error(), "no queue-proxy for amd64") {
		t.Errorf("got %v", err)
	}
	found := a.doctor.Assets()
	if len(found) != 1 || found[0].Level != wadi.LevelFail || !strings.Contains(found[0].Remedy, "assets/queue-proxy_linux_ARCH") {
		t.Errorf("found %+v", found)
	}
	if a.download(config.Assets{Dir: a.cfg.Assets.Dir}) != nil {
		t.Error("without a URL instances fetch something")
	}
}

// Whether programs are served changes with a restart. Until then a submission would make
// instances that have no program.
func TestAssets_ReloadedBeforeItsRestart(t *testing.T) {
	d := unconnected(t).download(config.Assets{URL: "http://10.0.0.5:4748"})
	if _, err := d(); err == nil || !strings.Contains(err.Error(), "after a restart") {
		t.Errorf("got %v", err)
	}
}

// A folder that can't be had is told at the start.
func TestAssets_NoFolder(t *testing.T) {
	file, _ := agenttest.SecureConfig(t, false)
	cfg, _ := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
	cfg.Assets.Dir = filepath.Join(os.DevNull, "x")
	if a, err := New(t.Context(), cfg, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "assets.dir: ") {
		if err == nil {
			a.Close()
		}
		t.Errorf("got %v", err)
	}
}

// The version of a program is what it says of itself, if that is one.
func TestProgramVersion(t *testing.T) {
	script := func(text string) string {
		file := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for text, want := range map[string]string{"echo queue-proxy 1.2.3": "1.2.3", "echo something else": "", "exit 1": "", "kill -9 $$": ""} {
		if got := programVersion(script(text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
