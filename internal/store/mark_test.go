package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/store"
)

// marking returns a decision for a mark, and counts how often it is asked.
func marking(mark wadi.Mark, asked *int) func(wadi.Marked) (wadi.Mark, error) {
	return func(wadi.Marked) (wadi.Mark, error) {
		*asked++
		return mark, nil
	}
}

func testMarks(t *testing.T, s *store.Store) {
	ctx, asked := t.Context(), 0
	index := submit(t, s, "hello", 1, 0)
	submit(t, s, "hello", 2, index)
	pinned, deleted := wadi.Mark{Pinned: true, By: "alice"}, wadi.Mark{Deleted: true}
	for id, mark := range map[string]wadi.Mark{"hello-00001": pinned, "hello-00002": deleted} {
		if err := s.MarkRevision(ctx, "hello", id, marking(mark, &asked)); err != nil {
			t.Fatal(err)
		}
	}
	w := leader(t, s)
	st, err := w.Load(ctx, "hello")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]wadi.Mark{"hello-00001": pinned, "hello-00002": deleted}
	if diff := cmp.Diff(want, st.Marks); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, id := range []string{"hello-00003", "nobody-00001"} {
		if err := s.MarkRevision(ctx, id[:len(id)-6], id, marking(pinned, &asked)); !errors.Is(err, wadi.ErrNotFound) {
			t.Errorf("%s: %v, want not found", id, err)
		}
	}
	before, err := s.ServiceIndex(ctx, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.MarkRevision(ctx, "hello", "hello-00001", marking(pinned, &asked)); err != nil {
		t.Fatal(err)
	}
	if after, err := s.ServiceIndex(ctx, "hello"); err != nil || after != before {
		t.Errorf("the same mark is written again: index %d, then %d, %v", before, after, err)
	}
	refusal := errors.New("no")
	err = s.MarkRevision(ctx, "hello", "hello-00001", func(m wadi.Marked) (wadi.Mark, error) {
		if m.Spec.Latest != "hello-00002" || !m.Marks["hello-00001"].Pinned {
			t.Errorf("decided by %+v", m)
		}
		return wadi.Mark{}, refusal
	})
	if !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
	if err := w.DeleteRevision(ctx, "hello", "hello-00002"); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkRevision(ctx, "hello", "hello-00001", marking(wadi.Mark{}, &asked)); err != nil {
		t.Fatal(err)
	}
	if marks, err := s.Marks(ctx, "hello"); err != nil || len(marks) > 0 {
		t.Errorf("a mark is left: %v, %v", marks, err)
	}
}

// A revision that was submitted, or got traffic, while it was judged is judged again.
func TestMarks_JudgedByWhatIsStored(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *store.Store, index uint64){
		"submitted": func(t *testing.T, s *store.Store, index uint64) { submit(t, s, "hello", 2, index) },
		"first route": func(t *testing.T, s *store.Store, _ uint64) {
			if err := leader(t, s).PutRoute(t.Context(), route("hello", 1)); err != nil {
				t.Error(err)
			}
		},
		"marked": func(t *testing.T, s *store.Store, _ uint64) {
			asked := 0
			if err := s.MarkRevision(t.Context(), "hello", "hello-00001", marking(wadi.Mark{Pinned: true}, &asked)); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := consultest.Start(t)
			plain := open(t, f.URL)
			index := submit(t, plain, "hello", 1, 0)
			client, err := consul.New(consul.Config{Address: f.URL})
			if err != nil {
				t.Fatal(err)
			}
			m := &meddler{KV: client, before: func() { change(t, plain, index) }}
			asked := 0
			err = store.New(m, "wadi/", "two", hclog.NewNullLogger()).MarkRevision(t.Context(), "hello", "hello-00001", marking(wadi.Mark{Deleted: true}, &asked))
			if err != nil || asked != 2 {
				t.Errorf("asked %d times, %v; want twice", asked, err)
			}
		})
	}
}

// The leader does not delete a revision of a service that was submitted since it was loaded: it
// may have traffic now.
func TestDeleteRevision_SubmittedMeanwhile(t *testing.T) {
	s := open(t, consultest.Start(t).URL)
	index := submit(t, s, "hello", 1, 0)
	w := leader(t, s)
	load := func() {
		t.Helper()
		if _, err := w.Load(context.Background(), "hello"); err != nil {
			t.Fatal(err)
		}
	}
	load()
	submit(t, s, "hello", 2, index)
	if err := w.DeleteRevision(t.Context(), "hello", "hello-00001"); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	load()
	if err := w.DeleteRevision(t.Context(), "hello", "hello-00001"); err != nil {
		t.Error(err)
	}
}

// A revision that is pinned while the leader removes it is kept, however late that is.
func TestDeleteRevision_PinnedMeanwhile(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	submit(t, s, "hello", 2, submit(t, s, "hello", 1, 0))
	asked := 0
	pin := func() {
		if err := s.MarkRevision(t.Context(), "hello", "hello-00001", marking(wadi.Mark{Pinned: true}, &asked)); err != nil {
			t.Error(err)
		}
	}
	client, err := consul.New(consul.Config{Address: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	m := &meddler{KV: client}
	w := store.New(m, "wadi/", "two", hclog.NewNullLogger()).Writer(takeLead(t, s))
	m.before = pin // Between the last look at the marks and the transaction.
	for _, when := range []string{"pinned at the last moment", "pinned before"} {
		if err := w.DeleteRevision(t.Context(), "hello", "hello-00001"); !errors.Is(err, wadi.ErrConflict) || asked != 1 {
			t.Errorf("%s: got %v, pinned %d times; want a conflict", when, err, asked)
		}
	}
	if all, err := s.Revisions(t.Context(), "hello"); err != nil || len(all) != 2 {
		t.Errorf("%d revisions are left, %v", len(all), err)
	}
	if marks, err := s.Marks(t.Context(), "hello"); err != nil || !marks["hello-00001"].Pinned {
		t.Errorf("marks %v, %v", marks, err)
	}
}

// A revision that is marked for deletion gets no traffic, whichever comes first: it would be
// deleted when the traffic goes elsewhere, weeks later.
func TestSubmit_TrafficForDeleted(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	index := submit(t, s, "hello", 2, submit(t, s, "hello", 1, 0))
	toFirst := spec("hello", 100)
	toFirst.Generation, toFirst.Latest = 3, "hello-00002"
	toFirst.Service.Traffic = []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 50}, {Revision: "hello-00001", Percent: 50}}
	all, asked := []wadi.Submission{{Spec: toFirst, Index: index}}, 0
	remove := func() {
		if err := s.MarkRevision(t.Context(), "hello", "hello-00001", marking(wadi.Mark{Deleted: true}, &asked)); err != nil {
			t.Error(err)
		}
	}
	client, err := consul.New(consul.Config{Address: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	m := &meddler{KV: client, before: remove} // The mark is stored between the judgement and the transaction.
	if _, err := store.New(m, "wadi/", "two", hclog.NewNullLogger()).Submit(t.Context(), all); !errors.Is(err, wadi.ErrConflict) || asked != 1 {
		t.Errorf("marked meanwhile: %v, marked %d times; want a conflict", err, asked)
	}
	if _, err := s.Submit(t.Context(), all); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("marked before: %v, want a conflict", err)
	}
	if err := s.MarkRevision(t.Context(), "hello", "hello-00001", marking(wadi.Mark{}, &asked)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Submit(t.Context(), all); err != nil {
		t.Errorf("not marked any more: %v", err)
	}
}
