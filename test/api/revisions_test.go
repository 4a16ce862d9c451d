//go:build e2e

package api_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

func revisionsOf(t *testing.T, service string) []string {
	t.Helper()
	all, err := stack.Agent.Client.Revisions(t.Context(), service)
	harnesstest.Must(t, "list revisions", err)
	var ids []string
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	return ids
}

// run runs a command that has to succeed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	r, err := stack.Agent.Wadi(t.Context(), t.TempDir(), args...)
	if err != nil || r.Code != 0 {
		t.Fatalf("wadi %s: %v\n%s", strings.Join(args, " "), err, r)
	}
	return r.Stdout
}

// Retention removes all old revisions but a pinned one. A deleted one is gone at once, with its
// job. What has traffic is not deleted.
func TestRevision_PinAndDelete(t *testing.T) {
	revision := func(n int, more string) {
		stack.Deploy(t, harnesstest.Hello("pinned", "min = 0", fmt.Sprintf("concurrency {\n    limit = %d\n  }\n  %s", n+1, more)))
	}
	const keep = "retention {\n    keep = 9\n  }"
	for n := range 4 {
		revision(n, keep)
	}
	run(t, "revision", "pin", "pinned-00001")
	for _, id := range []string{"pinned-00004", "pinned-00001"} { // The newest, and the pinned one.
		r, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "revision", "delete", id)
		if err != nil || r.Code != 1 {
			t.Errorf("delete %s: %v\n%s", id, err, r)
		}
	}
	if out := run(t, "revision", "delete", "pinned-00003"); !strings.HasSuffix(out, "pinned-00003: gone\n") { // After progress.
		t.Errorf("got %q", out)
	}
	if _, err := stack.Agent.Client.Revision(t.Context(), "pinned-00003"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("the deleted revision: %v", err)
	}
	if n, err := stack.Count(t.Context(), "pinned-00003"); err != nil || n != -1 {
		t.Errorf("its job has the count %d, %v; want none", n, err)
	}
	if got := revisionsOf(t, "pinned"); !slices.Equal(got, []string{"pinned-00004", "pinned-00002", "pinned-00001"}) {
		t.Errorf("got %v", got)
	}
	revision(3, "retention {\n    keep = 0\n  }")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if got := revisionsOf(t, "pinned"); !slices.Equal(got, []string{"pinned-00004", "pinned-00001"}) {
			return fmt.Errorf("got %v, want the newest and the pinned one", got)
		}
		return nil
	})
	run(t, "revision", "pin", "-clear", "pinned-00001")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if got := revisionsOf(t, "pinned"); len(got) != 1 {
			return fmt.Errorf("got %v, want the newest alone", got)
		}
		return nil
	})
}

// The commands that watch show what happens while they run: the state of a service, and what its
// instances write, those that start later included.
func TestWatching(t *testing.T) {
	const app = `
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "sh"
        args    = ["-c", "echo begun as $NOMAD_SHORT_ALLOC_ID; exec hello"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }`
	service := harnesstest.Hello("watched", "min = 1", "")
	begin, end := strings.Index(service, "  instance {"), strings.Index(service, "  probe {")
	service = service[:begin] + strings.TrimPrefix(app, "\n") + "\n" + service[end:]
	stack.Deploy(t, service)
	first, err := stack.Allocs(t.Context(), "watched-00001")
	if err != nil || len(first) != 1 {
		t.Fatalf("%d instances, %v", len(first), err)
	}
	logs := following(t, "service", "logs", "-follow", "-nomad-address", stack.Cluster.NomadAddr, "watched")
	status := following(t, "service", "status", "-watch", "-json", "watched")
	logs.has(t, "watched-00001", "begun as "+first[0].ID[:8])
	status.has(t, `"phase":"ready"`, `"latest":"watched-00001"`)
	stack.Deploy(t, strings.Replace(service, "exec hello", "echo the second; exec hello", 1))
	logs.has(t, "watched-00002", "the second")
	status.has(t, `"phase":"ready"`, `"latest":"watched-00002"`)
	once := run(t, "service", "logs", "-n", "1", "-json", "-nomad-address", stack.Cluster.NomadAddr, "watched")
	if !strings.Contains(once, "watched-00002") {
		t.Errorf("got %s", once)
	}
}
