package store_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
)

// The load of a service is kept while it is stored, and by the leader alone.
func testLoadHistory(t *testing.T, s *store.Store) {
	ctx := t.Context()
	minute := func(h wadi.LoadHistory) wadi.LoadHistory {
		return h.With(100, 101, []wadi.LoadMinute{{Minute: 100, Requests: 7}})
	}
	w := leader(t, s)
	if err := w.UpdateLoadHistory(ctx, "hello", minute); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("of a service that is not there: %v", err)
	}
	if _, err := s.LoadHistory(ctx, "hello"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
	index := submit(t, s, "hello", 1, 0)
	if err := w.UpdateLoadHistory(ctx, "hello", minute); err != nil {
		t.Fatal(err)
	}
	var was wadi.LoadHistory
	err := w.UpdateLoadHistory(ctx, "hello", func(h wadi.LoadHistory) wadi.LoadHistory { was = h; return h.With(101, 102, nil) })
	if d := cmp.Diff([]float64{7}, was.Requests); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if got, err := s.LoadHistory(ctx, "hello"); err != nil || !cmp.Equal(got.Requests, []float64{7, 0}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := s.MarkDeleting(ctx, "hello", index); err != nil {
		t.Fatal(err)
	}
	if err := w.Forget(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Consul().Get(ctx, "wadi/load/hello"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
}

// What can't be read stays as it is. A day of the most varied load fits well into an entry
// of Consul.
func testLoadHistoryBounds(t *testing.T, s *store.Store) {
	ctx := t.Context()
	submit(t, s, "hello", 1, 0)
	w := leader(t, s)
	newer := []byte(`{"schema": 99, "kind": "load", "data": {}}`)
	if _, err := s.Consul().Txn(ctx, []consul.Op{{Verb: consul.Set, Key: "wadi/load/hello", Value: newer}}); err != nil {
		t.Fatal(err)
	}
	same := func(h wadi.LoadHistory) wadi.LoadHistory { return h.With(1, 2, nil) }
	if err := w.UpdateLoadHistory(ctx, "hello", same); !errors.Is(err, wadi.ErrUnreadable) {
		t.Errorf("got %v, want unreadable", err)
	}
	if p, err := s.Consul().Get(ctx, "wadi/load/hello"); err != nil || string(p.Value) != string(newer) {
		t.Errorf("it was overwritten: %s, %v", p.Value, err)
	}
	submit(t, s, "varied", 1, 0)
	var all []wadi.LoadMinute
	r := rand.New(rand.NewPCG(1, 2))
	for m := range int64(wadi.MaxLoadMinutes) {
		all = append(all, wadi.LoadMinute{Minute: m, Concurrency: r.Float64() * 1e4, Peak: r.Float64() * 1e5, Requests: float64(r.IntN(1e7)), PeakRate: float64(r.IntN(1e5))})
	}
	err := w.UpdateLoadHistory(ctx, "varied", func(h wadi.LoadHistory) wadi.LoadHistory { return h.With(0, wadi.MaxLoadMinutes, all) })
	p, errGet := s.Consul().Get(ctx, "wadi/load/varied")
	if err != nil || errGet != nil || len(p.Value) > 32<<10 {
		t.Errorf("%d bytes, %v, %v", len(p.Value), err, errGet)
	}
}
