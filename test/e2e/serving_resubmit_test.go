//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// wadiCommand runs the command line against the agent, and returns its output and its
// error.
func wadiCommand(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(stack.Bin, "wadi"), args...)
	cmd.Env = append(os.Environ(), "WADI_ADDR=http://"+stack.Agent.API)
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// A revision that failed because something outside of it was missing is tried again when
// its file is applied again: later callers wait, and are served. Until then requests are
// refused with a remedy.
func TestServing_AppliedAgain(t *testing.T) {
	t.Parallel()
	const name, id = "once-more", "once-more-00001"
	dir := t.TempDir()
	outside, file := filepath.Join(dir, "database"), filepath.Join(dir, "service.hcl")
	text := hello(name, options{
		command: "sh", args: []string{"-c", "test -e " + outside + " || exit 7; exec hello"}, timeout: `progress = "20s"`,
	})
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stack.Remove(t, name) })
	if out, err := wadiCommand(t, "apply", file); err == nil || !strings.Contains(out, "Exit Code: 7") {
		t.Fatalf("apply: %v, %s; want a failure with its reason", err, out)
	}
	stack.ToZero(t, id)
	res := stack.Get(t, name, "/")
	harnesstest.WantStatus(t, res, 503)
	if got := res.Header.Get("Wadi-Error"); got != "revision_failed" {
		t.Fatalf("got Wadi-Error %q, want revision_failed", got)
	}
	out, err := wadiCommand(t, "service", "scale", "-for", "1m", name, "1")
	if err == nil || !strings.Contains(out, id+" has failed") || !strings.Contains(out, "apply its file again") {
		t.Errorf("scale: %v, %s; want a refusal that says what to do", err, out)
	}

	// Still missing: the second attempt fails as the first did, with its own time.
	if out, err := wadiCommand(t, "apply", file); err == nil || !strings.Contains(out, "tried again") || !strings.Contains(out, "Exit Code: 7") {
		t.Errorf("apply once more: %v, %s; want that it is tried again, and fails", err, out)
	}
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := wadiCommand(t, "apply", "-detach", file); err != nil || !strings.Contains(out, id+" had failed and is tried again") {
		t.Fatalf("apply: %v, %s; want that it is tried again", err, out)
	}
	// New requests wait, once the agent knows.
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		res = stack.Get(t, name, "/")
		if res.Status == 503 && res.Header.Get("Wadi-Error") == "revision_failed" {
			return fmt.Errorf("got %s", res.Body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, res, 200)
	if out, err := wadiCommand(t, "apply", file); err != nil || !strings.Contains(out, "ready, "+id) || strings.Contains(out, "tried again") {
		t.Errorf("apply of what is ready: %v, %s; want nothing changed", err, out)
	}
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if out, err := wadiCommand(t, "events", "-service", name); err != nil || !strings.Contains(out, "Retried") {
			return fmt.Errorf("events: %v, %s; want that it was tried again", err, out)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A missing program is no reason to wait for ten minutes: apply fails as soon as Nomad has
// given up three instances. Until then it prints each new fact once, with the deadline.
func TestServing_UnrecoverableFailsSoon(t *testing.T) {
	t.Parallel()
	const name = "misspelled"
	file := filepath.Join(t.TempDir(), "service.hcl")
	if err := os.WriteFile(file, []byte(hello(name, options{command: "helo"})), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stack.Remove(t, name) })
	out, err := wadiCommand(t, "apply", file)
	t.Log(out)
	if err == nil || !strings.Contains(out, "3 instances up") || !strings.Contains(out, "helo") || strings.Contains(out, "timeout.progress") {
		t.Errorf("apply: %v, %s; want that Nomad gave it up", err, out)
	}
	if !strings.Contains(out, "(fails in 9m5") && !strings.Contains(out, "(fails in 10m0s") {
		t.Errorf("apply: %s; want how much time was left", out)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		fact := scheduler.WithoutNumbers(strings.Split(line, " (fails in ")[0])
		if seen[fact] {
			t.Errorf("apply: %s; want each fact once, not again %s", out, line)
		}
		seen[fact] = true
	}
	s, err := stack.Agent.Client.Service(t.Context(), name)
	if err != nil || s.Status.Revisions[0].Phase != wadi.Failed || !s.Status.Revisions[0].Until.IsZero() {
		t.Errorf("got %+v (%v), want it failed", s.Status, err)
	}
}
