package store_test

import (
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
)

// What revisions name is known until the last of them is gone, whatever else is written, and
// never in part.
func testAssets(t *testing.T, s *store.Store) {
	ctx := t.Context()
	want := func(what string, want map[string]int) {
		t.Helper()
		got, err := s.Assets(ctx)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s (-want +got):\n%s%v", what, diff, err)
		}
	}
	want("nothing is stored", map[string]int{})
	index := uint64(0)
	for n, sums := range [][]string{{"old", "arm"}, {"new", "arm"}, nil} {
		sp, rev := spec("hello", 100), revision("hello", n+1)
		sp.Generation, sp.Latest, rev.Assets = uint64(n+1), rev.ID, sums
		got, err := s.Submit(ctx, []wadi.Submission{{Spec: sp, Index: index, NewRevision: rev}})
		if err != nil {
			t.Fatal(err)
		}
		index = got["hello"]
	}
	want("three revisions", map[string]int{"old": 1, "new": 1, "arm": 2})
	w := leader(t, s)
	if err := w.PutRoute(ctx, route("hello", 100)); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteRevision(ctx, "hello", "hello-00001"); err != nil {
		t.Fatal(err)
	}
	want("after one is deleted", map[string]int{"new": 1, "arm": 1})
	// An agent of a release before has written the entry without them: the revisions have them.
	entry, err := s.Consul().Get(ctx, "wadi/index/hello")
	if err != nil {
		t.Fatal(err)
	}
	without := regexp.MustCompile(`,"assets":\{.*?\}`).ReplaceAll(entry.Value, nil)
	if _, err := s.Consul().Txn(ctx, []consul.Op{{Verb: consul.Set, Key: "wadi/index/hello", Value: without}}); err != nil {
		t.Fatal(err)
	}
	want("without the index's names", map[string]int{})
	got, err := s.AssetsOfRevisions(ctx)
	if diff := cmp.Diff(map[string]int{"new": 1, "arm": 1}, got); diff != "" || err != nil {
		t.Errorf("of revisions (-want +got):\n%s%v", diff, err)
	}
	if _, err := s.Consul().Txn(ctx, []consul.Op{{Verb: consul.Set, Key: "wadi/revision/hello/x", Value: []byte("damaged")}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.AssetsOfRevisions(ctx); !errors.Is(err, wadi.ErrUnreadable) {
		t.Errorf("with a revision that can't be read: %v, %v", got, err)
	}
	if _, err := s.Consul().Txn(ctx, []consul.Op{{Verb: consul.Set, Key: "wadi/index/other", Value: []byte("damaged")}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Assets(ctx); !errors.Is(err, wadi.ErrUnreadable) {
		t.Errorf("with an entry that can't be read: %v, %v", got, err)
	}
}
