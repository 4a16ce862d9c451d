package store_test

import (
	"errors"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
)

// leader returns the writer of the present term, which the first call begins.
func leader(tb testing.TB, s *store.Store) *store.Writer {
	tb.Helper()
	cur, err := s.Consul().Get(tb.Context(), s.LeaderKey())
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		tb.Fatal(err)
	}
	if cur.Session == "" {
		return s.Writer(takeLead(tb, s))
	}
	return s.Writer(consul.Lock{Key: s.LeaderKey(), Session: cur.Session})
}

// takeLead begins a new term, and ends the present one.
func takeLead(tb testing.TB, s *store.Store) consul.Lock {
	tb.Helper()
	c := s.Consul().API()
	if cur, err := s.Consul().Get(tb.Context(), s.LeaderKey()); err == nil && cur.Session != "" {
		// Released, and not ended with its session, it can be had at once.
		if ok, _, err := c.KV().Release(&api.KVPair{Key: s.LeaderKey(), Session: cur.Session}, nil); err != nil || !ok {
			tb.Fatalf("release: %v, %v", ok, err)
		}
	}
	id, _, err := c.Session().CreateNoChecks(nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	ok, _, err := c.KV().Acquire(&api.KVPair{Key: s.LeaderKey(), Session: id}, nil)
	if err != nil || !ok {
		tb.Fatalf("acquire: %v, %v", ok, err)
	}
	return consul.Lock{Key: s.LeaderKey(), Session: id}
}

// After the end of its term a writer that has not noticed it overwrites nothing.
func testDeposed(t *testing.T, s *store.Store) {
	ctx := t.Context()
	submit(t, s, "hello", 1, 0)
	submit(t, s, "going", 1, 0)
	old := s.Writer(takeLead(t, s))
	for name, err := range map[string]error{
		"route": old.PutRoute(ctx, route("hello", 1)), "state": old.PutState(ctx, "hello", wadi.State{}),
		"status": old.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "ready"}),
	} {
		if err != nil {
			t.Fatalf("%s while it leads: %v", name, err)
		}
	}
	_, index, err := s.Spec(ctx, "going")
	if err == nil {
		err = s.MarkDeleting(ctx, "going", index)
	}
	if err != nil {
		t.Fatal(err)
	}

	next := s.Writer(takeLead(t, s))
	// A key that was never written has no index to be stale: only the lock fences it.
	for name, err := range map[string]error{
		"route": old.PutRoute(ctx, route("going", 2)), "state": old.PutState(ctx, "going", wadi.State{}),
		"status":   old.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "failed"}),
		"revision": old.DeleteRevision(ctx, "hello", "hello-00001"), "forget": old.Forget(ctx, "going"),
		"load": old.UpdateLoadHistory(ctx, "hello", func(h wadi.LoadHistory) wadi.LoadHistory { return h }),
	} {
		if !errors.Is(err, wadi.ErrNotLeading) || errors.Is(err, wadi.ErrConflict) {
			t.Errorf("%s of a deposed leader: got %v, want ErrNotLeading", name, err)
		}
	}
	st, err := next.Load(ctx, "hello")
	if err != nil || st.Status.Phase != "ready" || len(st.Revisions) != 1 || st.Route.Targets[0].Weight != 1 {
		t.Errorf("got %+v, %v; want it as it was", st, err)
	}
	if st, err = next.Load(ctx, "going"); err != nil || !st.Deleting {
		t.Errorf("what was to be forgotten: got %+v, %v; want it there", st, err)
	}
	if err := errors.Join(next.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "failed"}), next.Forget(ctx, "going")); err != nil {
		t.Errorf("the next leader: %v", err)
	}
}
