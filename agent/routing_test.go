package agent

import (
	"context"
	"slices"
	"testing"

	"github.com/wadi-run/wadi"
)

// Namespaces are unknown, and the routes not ready, until the routes were announced.
func TestRouting(t *testing.T) {
	r := newRouting()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.set(map[string]wadi.Route{
		"hello": {Namespace: "team", Revisions: map[string]wadi.RouteRevision{"hello-00001": {}}},
		"other": {Namespace: "team"},
	})
	if all, known := r.namespaces(); known {
		t.Errorf("before: namespaces %v are known", all)
	}
	if err := r.ready(ended); err == nil {
		t.Error("before: ready")
	}
	r.announce()
	r.announce()
	if all, known := r.namespaces(); !known || !slices.Equal(all, []string{"team"}) {
		t.Errorf("namespaces %v, known %t", all, known)
	}
	if err := r.ready(t.Context()); err != nil {
		t.Error(err)
	}
	for revision, want := range map[string]string{"hello-00001": "team", "hello-00002": "", "other-00001": "", "none-00001": ""} {
		if got, ok := r.namespaceOf(revision); got != want || ok != (want != "") {
			t.Errorf("%s is in %q, %t, want %q", revision, got, ok, want)
		}
	}
}
