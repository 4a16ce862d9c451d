//go:build e2e

package containers_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestEngine pulls and runs images of every kind of registry. The engine has no network of
// its own.
func TestEngine(t *testing.T) {
	ctx := t.Context()
	e, err := containers.StartEngine(ctx)
	if errors.Is(err, containers.ErrNoEngine) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			if err := e.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	defer stop()
	image, err := containers.Built("wadi", containers.Cmd("version"))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]containers.RegistryOptions{"open": {}, "tls": {TLS: true}, "token": {Token: true}} {
		r := start(t, o)
		push(t, r, name+":1", image)
		out, err := e.Docker(ctx, "run", "--rm", "--network=none", r.Ref(name+":1"))
		if err != nil || !strings.Contains(strings.ToLower(out), "wadi") {
			t.Errorf("%s: got %q (%v), want Wadi's version", name, out, err)
		}
	}
	writesStacks(t, e)
	secret := start(t, containers.RegistryOptions{Username: "u", Password: "p"})
	push(t, secret, "app:1", image)
	if _, err := e.Docker(ctx, "pull", secret.Ref("app:1")); err == nil || !strings.Contains(err.Error(), "no basic auth credentials") {
		t.Errorf("without a password: %v", err)
	}
	envoy, err := containers.Envoy(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Load(ctx, "wadi-test/envoy:1", envoy); err != nil {
		t.Fatal(err)
	}
	if out, err := e.Docker(ctx, "run", "--rm", "--network=none", "wadi-test/envoy:1", "--version"); err != nil || !strings.Contains(out, "BoringSSL") {
		t.Errorf("got %q (%v), want Envoy's version", out, err)
	}
	stop()
	if _, err := os.Stat(e.Dir); !os.IsNotExist(err) {
		t.Errorf("the engine's folder is left: %v", err)
	}
}

// writesStacks has containerd write its stacks, as dockerd does when it does not answer in
// time: nothing may be left of it in the machine's folder for temporary files.
func writesStacks(t *testing.T, e *containers.Engine) {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(e.Dir, "exec", "containerd", "containerd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(id, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("containerd.%d.stacks.log", id)
	outside := filepath.Join(os.TempDir(), name)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if os.Remove(outside) == nil {
			return harness.Final(fmt.Errorf("%s is left", outside))
		}
		_, err := os.Stat(filepath.Join(e.Dir, name))
		return err
	})
}
