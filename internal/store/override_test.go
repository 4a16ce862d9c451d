package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/store"
)

func testOverride(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), time.Now().UTC().Truncate(time.Second)
	if err := s.PutOverride(ctx, "hello", "", wadi.Override{Count: 5, Until: now.Add(time.Minute)}, now); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("override of a service that is not there: %v, want not found", err)
	}
	submit(t, s, "hello", 1, 0)
	if got, err := s.Overrides(ctx, "hello"); err != nil || len(got) != 0 {
		t.Errorf("got %v (%v), want no overrides", got, err)
	}
	five := wadi.Override{Count: 5, Until: now.Add(time.Minute), By: "alice"}
	two := wadi.Override{Count: 2, Until: now.Add(time.Hour)}
	put := func(revision string, h wadi.Override, at time.Time) {
		t.Helper()
		if err := s.PutOverride(ctx, "hello", revision, h, at); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want map[string]wadi.Override) {
		t.Helper()
		st, err := leader(t, s).Load(ctx, "hello") // As the leader reads it.
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, st.Overrides); diff != "" {
			t.Error(diff)
		}
	}
	var all sync.WaitGroup // Of two at once none is lost.
	all.Go(func() { put("", five, now) })
	all.Go(func() { put("hello-00001", two, now) })
	all.Wait()
	want(map[string]wadi.Override{"": five, "hello-00001": two})
	put("other", wadi.Override{}, now.Add(2*time.Minute)) // Those that have ended are dropped.
	want(map[string]wadi.Override{"hello-00001": two})
	put("hello-00001", wadi.Override{}, now)
	want(map[string]wadi.Override{})
}
