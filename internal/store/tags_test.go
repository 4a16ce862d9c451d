package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/store"
)

// withTags is a submission of a service with tags.
func withTags(name string, index uint64, tags ...string) wadi.Submission {
	sp := spec(name, 0)
	for _, tag := range tags {
		sp.Service.Traffic = append(sp.Service.Traffic, wadi.TrafficTarget{Revision: wadi.Latest, Tag: tag})
	}
	return wadi.Submission{Spec: sp, Index: index}
}

// nameTaken submits, and wants the refusal of a name.
func nameTaken(t *testing.T, s *store.Store, want wadi.NameTakenError, all ...wadi.Submission) {
	t.Helper()
	_, err := s.Submit(t.Context(), all)
	var got *wadi.NameTakenError
	if !errors.As(err, &got) || !errors.Is(err, wadi.ErrConflict) {
		t.Fatalf("got %v, want %+v", err, want)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func testTags(t *testing.T, s *store.Store) {
	c := claimed(t, s, withTags("c", 0, "a-b", "next"))["c"]
	c = claimed(t, s, withTags("c", c, "a-b", "next"))["c"] // The same again.
	nameTaken(t, s, wadi.NameTakenError{Name: "a-b-c", Service: "b-c", Holder: "c"}, withTags("b-c", 0, "a"))
	nameTaken(t, s, wadi.NameTakenError{Name: "a-b-c", Service: "a-b-c", Holder: "c"}, withTags("a-b-c", 0))
	nameTaken(t, s, wadi.NameTakenError{Name: "x-d", Service: "d", Holder: "x-d"}, withTags("d", 0, "x"), withTags("x-d", 0))
	bc := claimed(t, s, withTags("b-c", 0))["b-c"]
	nameTaken(t, s, wadi.NameTakenError{Name: "b-c", Service: "c", Holder: "b-c"}, withTags("c", c, "a-b", "b"))
	// In one submission a name may change hands.
	both := claimed(t, s, withTags("c", c, "next"), withTags("b-c", bc, "a"))
	nameTaken(t, s, wadi.NameTakenError{Name: "a-b-c", Service: "c", Holder: "b-c"}, withTags("c", both["c"], "a-b"))
	claimed(t, s, withTags("b-c", both["b-c"]), withTags("a-b-c", 0))
	nameTaken(t, s, wadi.NameTakenError{Name: "a-b-c", Service: "c", Holder: "a-b-c"}, withTags("c", both["c"], "a-b"))
	del(t, s, "a-b-c")
	del(t, s, "c")
	claimed(t, s, withTags("next-c", 0))
	claimed(t, s, withTags("c", 0, "a-b"))
}

// Of many that want one name at the same moment, for a tag or for themselves, one
// gets it.
func testTagsAtOnce(t *testing.T, s *store.Store) {
	const n = 12
	for round := range 5 {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = fmt.Sprintf("r%dp%d", round, i)
		}
		var mu sync.Mutex
		var winners []string
		holders := map[string]int{}
		var wg sync.WaitGroup
		for i := range n {
			sub := withTags(strings.Join(parts, "-"), 0)
			if i > 0 {
				sub = withTags(strings.Join(parts[i:], "-"), 0, strings.Join(parts[:i], "-"))
			}
			wg.Go(func() {
				_, err := s.Submit(context.Background(), []wadi.Submission{sub})
				mu.Lock()
				defer mu.Unlock()
				var refused *wadi.NameTakenError
				switch {
				case err == nil:
					winners = append(winners, sub.Spec.Service.Name)
				case errors.As(err, &refused):
					holders[refused.Holder]++
				default:
					t.Errorf("%s: %v", sub.Spec.Service.Name, err)
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 || holders[winners[0]] != n-1 {
			t.Fatalf("winners are %v, holders named are %v; want one, and all others to name it", winners, holders)
		}
	}
}

// Nothing is left behind of a tag that was given up, or of a service that is gone.
func TestTags_Released(t *testing.T) {
	f, s := openFake(t)
	want := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, k := range f.Keys() {
			if name, ok := strings.CutPrefix(k, "wadi/tag/"); ok {
				got = append(got, name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	index := claimed(t, s, withTags("a", 0, "new", "old"))["a"]
	want("at first", "new-a", "old-a")
	claimed(t, s, withTags("a", index, "new"))
	want("after a change", "new-a")
	del(t, s, "a")
	want("after a deletion")
}

// A claim that its service does not want blocks no other service, and a service that was
// stored before there were claims gets its own with its next submission.
func TestTags_VoidAndMissingClaims(t *testing.T) {
	f, s := openFake(t)
	index := claimed(t, s, withTags("old", 0, "x"))["old"]
	f.Remove("wadi/tag/x-old")
	f.Put("wadi/tag/y-z-old", []byte(`{"schema":1,"kind":"tag","data":{"service":"old"}}`))
	f.Put("wadi/tag/gone-old", []byte(`{"schema":1,"kind":"tag","data":{"service":"gone"}}`))
	claimed(t, s, withTags("y-z-old", 0), withTags("gone-old", 0))
	claimed(t, s, withTags("old", index, "x"))
	nameTaken(t, s, wadi.NameTakenError{Name: "x-old", Service: "x-old", Holder: "old"}, withTags("x-old", 0))
}
