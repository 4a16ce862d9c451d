//go:build e2e

package nomad_test

import (
	"slices"
	"testing"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/nomad/nomadtest"
	"github.com/wadi-run/wadi/internal/policies"
)

func mayRead(namespaces ...string) (rules string) {
	for _, ns := range namespaces {
		rules += policies.Namespace(ns).String() + "\n"
	}
	return rules
}

// A token with rights in some namespaces, on a real Nomad: rights are granted and revoked
// while the watcher runs, and namespaces are made.
func TestE2E_SomeNamespaces(t *testing.T) {
	server := nomadtest.Start(t)
	server.Namespace("team", "foreign")
	server.Allow("wadi", mayRead("team"))
	c, err := nomad.New(nomad.Config{Address: server.URL, Token: server.Token("wadi")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &nomad.Watcher{Client: c, Namespaces: func() ([]string, bool) { return []string{"team"}, true }}
	server.Job("team", "before-00001", 1, nil)
	run(t, w, true)
	if j, ok := w.Job("team", "before-00001"); !ok || j.Count != 1 {
		t.Fatalf("in sync, the job is %+v (%t)", j, ok)
	}
	n := 0
	// told waits until the watcher sees a change in a namespace; each call makes another
	// change.
	told := func(namespace string) {
		t.Helper()
		n++
		server.Job(namespace, "hello-00001", n, nil)
		soon(t, "a job in "+namespace, func() bool {
			j, _ := w.Job(namespace, "hello-00001")
			return j.Count == n && w.Usable(namespace)
		})
		soon(t, "a diagnosis", func() bool { why, _ := diagnosed(w, namespace, "hello-00001"); return why != "" })
	}
	told("team")
	server.Job("foreign", "hello-00001", 100, nil)
	soon(t, "foreign is said to be refused", func() bool { _ = w.Usable("foreign"); return slices.Equal(w.Unwatched(), []string{"foreign"}) })
	told("team")

	server.Allow("wadi", mayRead("team", "foreign"))
	told("foreign")
	server.Allow("wadi", mayRead("team"))
	soon(t, "the right to foreign is gone", func() bool { return !w.Connected("foreign") })
	told("team")

	server.Allow("wadi", mayRead("*"))
	soon(t, "all may be read", func() bool { return w.Connected("team") && w.Connected("foreign") && w.Connected("default") })
	server.Namespace("later")
	told("later")
	told("default")
}

// Nomad is restored to an older state: its present state counts, though the indexes are
// lower.
func TestE2E_Restored(t *testing.T) {
	server := nomadtest.Start(t)
	server.Allow("wadi", mayRead("*"))
	c, err := nomad.New(nomad.Config{Address: server.URL, Token: server.Token("wadi")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	reread := make(chan uint64, 10)
	w := &nomad.Watcher{Client: c, Reread: func(_, _ string, index uint64) { reread <- index }}
	run(t, w, true)
	old := server.Job("default", "hello-00001", 1, nil)
	snapshot, err := server.API.Operator().Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	newest := server.Job("default", "hello-00001", 5, nil)
	soon(t, "the new count", func() bool { j, _ := w.Job("", "hello-00001"); return j.JobModifyIndex == newest })
	if _, err := server.API.Operator().SnapshotRestore(snapshot, &api.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	soon(t, "the old count", func() bool { j, _ := w.Job("", "hello-00001"); return j.JobModifyIndex == old && j.Count == 1 })
	if got := <-reread; got != old {
		t.Errorf("the full read told of index %d, want %d", got, old)
	}
	next := server.Job("default", "hello-00001", 2, nil)
	soon(t, "what changes since", func() bool { j, _ := w.Job("", "hello-00001"); return j.JobModifyIndex == next && j.Count == 2 })
}
