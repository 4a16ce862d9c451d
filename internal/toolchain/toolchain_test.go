package toolchain_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wadi-run/wadi/internal/toolchain"
)

// program writes a script that prints a version.
func program(t *testing.T, dir, name, answer string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+answer+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// machine gives the test its own PATH and cache.
func machine(t *testing.T) (bin, cache string) {
	t.Helper()
	bin, cache = t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("CNI_PATH", "")
	t.Setenv("XDG_CACHE_HOME", cache)
	return bin, filepath.Join(cache, "wadi", "tools")
}

func TestLocate_Versions(t *testing.T) {
	for _, tt := range []struct {
		name, program, answer string
		found                 bool
	}{
		{"nomad of the pin", "nomad", "echo 'Nomad v1.11.3'", true},
		{"nomad with a commit", "nomad", "echo 'Nomad v1.12.0-dev'; echo 'BuildDate 2026-01-01'", true},
		{"nomad too old", "nomad", "echo 'Nomad v1.9.7'", false},
		{"nomad that fails", "nomad", "exit 3", false},
		{"consul", "consul", "echo 'Consul v1.22.0'", true},
		{"consul too old", "consul", "echo 'Consul v1.21.9'", false},
		{"envoy", "envoy", "echo; echo 'envoy  version: 7ae0ef41cab8d00c1bd22e6eb08f1d6d0e5ae45d/1.36.4/Clean/RELEASE/BoringSSL'", true},
		{"envoy too new", "envoy", "echo 'envoy  version: abc/1.37.0/Clean/RELEASE/BoringSSL'", false},
		{"no version", "nomad", "echo hello", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bin, _ := machine(t)
			path := program(t, bin, tt.program, tt.answer)
			paths, missing := toolchain.Locate(t.Context())
			got := map[string]string{"nomad": paths.Nomad, "consul": paths.Consul, "envoy": paths.Envoy}[tt.program]
			if (got == path) != tt.found {
				t.Fatalf("got %q, want found %v; missing: %v", got, tt.found, missing)
			}
			for _, m := range missing {
				if string(m.Name) == tt.program && tt.found {
					t.Errorf("found, and yet missing: %s", m)
				}
				if m.Reason == "" || m.Without == "" {
					t.Errorf("%s: must say what is missing and what works without it, got %q", m.Name, m)
				}
			}
		})
	}
}

func TestLocate_FindsTheCacheWhenPathIsTooOld(t *testing.T) {
	bin, cache := machine(t)
	program(t, bin, "nomad", "echo 'Nomad v1.2.3'")
	want := program(t, filepath.Join(cache, "nomad-1.11.3"), "nomad", "echo never asked")
	paths, _ := toolchain.Locate(t.Context())
	if paths.Nomad != want {
		t.Fatalf("got %q, want %q", paths.Nomad, want)
	}
}

func TestLocate_HalfOfThePluginsIsNone(t *testing.T) {
	_, cache := machine(t)
	dir := filepath.Join(cache, "cni-1.9.1")
	for _, f := range []string{"bridge", "firewall", "host-local", "loopback"} {
		program(t, dir, f, "")
	}
	if _, err := os.Stat("/opt/cni/bin/bridge"); err == nil {
		t.Skip("this machine has plugins in /opt/cni/bin")
	}
	if paths, _ := toolchain.Locate(t.Context()); paths.CNI != "" || paths.Bridge {
		t.Fatalf("got %+v, want none without portmap", paths)
	}
	program(t, dir, "portmap", "")
	if paths, _ := toolchain.Locate(t.Context()); paths.CNI != dir {
		t.Fatalf("got %q, want %q", paths.CNI, dir)
	}
}

func TestEnsure_BuildsOnceForTwoAtOnce(t *testing.T) {
	bin, cache := machine(t)
	count := filepath.Join(t.TempDir(), "builds")
	// Stands for Go: notes that it ran, takes a while, writes what -o names.
	program(t, bin, "go", `echo x >>`+count+`
while [ "$1" != -o ]; do shift; done
/bin/sleep 0.3; echo made >"$2"; /bin/chmod 755 "$2"`)
	tools := t.TempDir()
	for _, d := range []string{"nomad", "consul"} {
		module(t, tools, d)
	}

	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var out bytes.Buffer
			b := &toolchain.Builder{Tools: tools, Out: &out}
			paths, missing := b.Ensure(t.Context(), toolchain.Nomad)
			want := filepath.Join(cache, "nomad-1.11.3", "nomad")
			if paths.Nomad != want || len(missing) != 0 {
				t.Errorf("got %q, missing %v, want %q; output:\n%s", paths.Nomad, missing, want, &out)
			}
		})
	}
	wg.Wait()
	if got, err := os.ReadFile(count); err != nil || string(got) != "x\n" {
		t.Errorf("builds: got %q, %v, want one", got, err)
	}
	left, err := filepath.Glob(filepath.Join(cache, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestEnsure_SaysWhatIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name string
		prep func(t *testing.T, bin, tools string)
		part toolchain.Name
		want string
	}{
		{"no go", func(t *testing.T, _, tools string) { module(t, tools, "nomad") }, toolchain.Nomad, "no go on PATH"},
		{"no checkout", func(*testing.T, string, string) {}, toolchain.Nomad, "-tools-dir"},
		{"no python", func(*testing.T, string, string) {}, toolchain.Envoy, "no Python on PATH"},
		{"no pip", func(t *testing.T, bin, _ string) { program(t, bin, "python3", "exit 1") }, toolchain.Envoy, "python3 has no pip"},
		{"the build fails", func(t *testing.T, bin, tools string) {
			module(t, tools, "consul")
			program(t, bin, "go", "echo x.go:1: undefined: y >&2; exit 1")
		}, toolchain.Consul, "undefined: y"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bin, cache := machine(t)
			tools := t.TempDir()
			tt.prep(t, bin, tools)
			_, missing := (&toolchain.Builder{Tools: tools}).Ensure(t.Context(), tt.part)
			if len(missing) != 1 || !strings.Contains(missing[0].String(), tt.want) {
				t.Fatalf("got %v, want %q", missing, tt.want)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "*"+string(tt.part)+"*")); len(left) > 1 { // The lock stays.
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestEnsure_StopsWaitingWithTheContext(t *testing.T) {
	bin, _ := machine(t)
	program(t, bin, "go", "exec /bin/sleep 60")
	tools := t.TempDir()
	module(t, tools, "nomad")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, missing := (&toolchain.Builder{Tools: tools}).Ensure(ctx, toolchain.Nomad); len(missing) != 1 {
		t.Fatalf("got %v, want nomad missing", missing)
	}
}

// The pins of this package and of tools/ must not drift apart.
func TestPins_AreThoseOfTheModules(t *testing.T) {
	for part, want := range map[string]string{
		"nomad":  "github.com/hashicorp/nomad v1.11.3",
		"consul": "github.com/hashicorp/consul v1.22.7",
		"cni":    "github.com/containernetworking/plugins v1.9.1",
	} {
		b, err := os.ReadFile(filepath.Join("..", "..", "tools", part, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), want) {
			t.Errorf("tools/%s/go.mod does not require %s", part, want)
		}
	}
}

func module(t *testing.T, tools, name string) {
	t.Helper()
	dir := filepath.Join(tools, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), fmt.Appendf(nil, "module %s\n", name), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every missing part is reported with a way to get it.
func TestLocate_SaysHowToGetIt(t *testing.T) {
	machine(t)
	_, missing := toolchain.Locate(t.Context())
	for _, m := range missing {
		switch s := m.String(); {
		case m.Name == toolchain.Bridge:
			if !strings.Contains(s, "install the package") && !strings.Contains(s, "sudo") {
				t.Errorf("no way to get it: %s", s)
			}
		case !strings.Contains(s, "to get it:") || !strings.Contains(s, "make tools"):
			t.Errorf("no way to get it: %s", s)
		}
	}
	if len(missing) < 3 { // Nomad, Consul and Envoy; CNI plugins may be where distributions put them.
		t.Errorf("got %v, want all programs", missing)
	}
}
