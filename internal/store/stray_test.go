package store_test

import (
	"slices"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
)

// What belongs to no service is named; keys that no service ever has, and those of a newer
// Wadi, are not.
func testStray(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for _, sub := range []wadi.Submission{withTags("hello", 0, "canary"), withTags("other", 0, "canary")} {
		if _, err := s.Submit(ctx, []wadi.Submission{sub}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Installation(ctx); err != nil {
		t.Fatal(err)
	}
	look := func() (stray, services []string) {
		t.Helper()
		stray, services, err := s.Stray(ctx, s.Consul())
		if err != nil {
			t.Fatal(err)
		}
		return stray, services
	}
	if stray, services := look(); len(stray) > 0 || !slices.Equal(services, []string{"hello", "other"}) {
		t.Errorf("got %q of %q", stray, services)
	}
	for _, key := range []string{"revision/ghost/ghost-00001", "status/ghost", "load/ghost", "newer/ghost", "leader"} {
		if _, err := s.Consul().Txn(ctx, []consul.Op{{Verb: consul.Set, Key: "wadi/" + key, Value: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Consul().Txn(ctx, []consul.Op{{Verb: consul.Delete, Key: "wadi/index/other"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{"wadi/domain/other.example.com", "wadi/load/ghost", "wadi/revision/ghost/ghost-00001", "wadi/spec/other", "wadi/status/ghost", "wadi/tag/canary-other"}
	if stray, services := look(); !slices.Equal(stray, want) || !slices.Equal(services, []string{"hello"}) {
		t.Errorf("got %q of %q, want %q", stray, services, want)
	}
}
