package wadi_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

func TestBucketOf(t *testing.T) {
	// They are stored by no one, but agents of all versions must agree.
	for value, want := range map[string]int{"alice": 4165, "bob": 5595, "ü": 2709} {
		if got, ok := wadi.BucketOf("hello", []string{value}); !ok || got != want {
			t.Errorf("%s: got %d %v, want %d", value, got, ok, want)
		}
	}
	for _, none := range [][]string{nil, {}, {""}, {"a", "a"}, {strings.Repeat("a", 257)}} {
		if got, ok := wadi.BucketOf("hello", none); ok {
			t.Errorf("%.20q: got %d", none, got)
		}
	}
	if _, ok := wadi.BucketOf("hello", []string{strings.Repeat("a", 256)}); !ok {
		t.Error("no bucket for the longest value")
	}
	if a, b := bucket(t, "hello", "x"), bucket(t, "hell", "ox"); a == b {
		t.Errorf("service and value are not told apart: %d", a)
	}
	values := []string{"alice"}
	if n := testing.AllocsPerRun(100, func() { wadi.BucketOf("hello", values) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Users with IDs of the usual forms are spread evenly.
func TestBucketOf_SpreadsUsersEvenly(t *testing.T) {
	const users, tenths = 100_000, 10
	for name, id := range map[string]func(int) string{
		"numbers":   strconv.Itoa,
		"padded":    func(i int) string { return fmt.Sprintf("user-%08d", i) },
		"addresses": func(i int) string { return fmt.Sprintf("u%d@example.com", i) },
	} {
		var count [tenths]int
		for i := range users {
			count[bucket(t, "hello", id(i))*tenths/wadi.WeightAll]++
		}
		for i, n := range count {
			if n < users/tenths*97/100 || n > users/tenths*103/100 {
				t.Errorf("%s: %d users in tenth %d, want %d within 3 %%", name, n, i, users/tenths)
			}
		}
	}
}

func bucket(t *testing.T, service, value string) int {
	t.Helper()
	b, ok := wadi.BucketOf(service, []string{value})
	if !ok || b < 0 || b >= wadi.WeightAll {
		t.Fatalf("bucket %d of %q: %v", b, value, ok)
	}
	return b
}

func TestSplitOf(t *testing.T) {
	id := func(n int) string { return wadi.RevisionID("hello", n) }
	for _, tt := range []struct {
		name    string
		targets []wadi.RouteTarget
		want    wadi.Split
	}{
		{"none", nil, nil},
		{"one", []wadi.RouteTarget{{Revision: id(1), Weight: 10000}}, wadi.Split{{id(1), 10000}}},
		{"the newest first", []wadi.RouteTarget{{Revision: id(1), Weight: 9000}, {Revision: id(3), Weight: 100}, {Revision: id(2), Weight: 900}},
			wadi.Split{{id(3), 100}, {id(2), 1000}, {id(1), 10000}}},
		{"by number", []wadi.RouteTarget{{Revision: id(99999), Weight: 9000}, {Revision: id(100000), Weight: 1000}},
			wadi.Split{{id(100000), 1000}, {id(99999), 10000}}},
		{"tags", []wadi.RouteTarget{{Revision: id(1), Weight: 9000}, {Revision: id(2), Weight: 600}, {Revision: id(2), Weight: 400, Tag: "canary"}, {Revision: id(3), Tag: "next"}},
			wadi.Split{{id(2), 1000}, {id(1), 10000}}},
	} {
		if got := wadi.SplitOf(tt.targets); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := wadi.SplitOf(nil).Revision(0); got != "" {
		t.Errorf("no target: got %q", got)
	}
	if got := (wadi.Split{{id(1), 9999}}).Revision(9999); got != id(1) {
		t.Errorf("a sum below 100 %%: got %q", got)
	}
}

// Over random rollouts, of a third revision in the middle of another's too, each revision has
// exactly its share of the buckets, and no bucket ever gets an older revision.
func TestSplitOf_UsersMoveToNewerRevisionsOnly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		weights := map[int]int{1: wadi.WeightAll} // By the revision's number.
		newest := 1
		at := make([]int, wadi.WeightAll) // The number of the revision of each bucket.
		for range 12 {
			if random.IntN(3) == 0 {
				newest++
			}
			// Shares go from revisions to any newer ones.
			for range 1 + random.IntN(3) {
				from := 1 + random.IntN(newest)
				to := from + random.IntN(newest-from+1)
				moved := random.IntN(weights[from] + 1)
				if random.IntN(4) == 0 {
					moved = weights[from]
				}
				weights[from] -= moved
				weights[to] += moved
			}
			var targets []wadi.RouteTarget
			for number, weight := range weights { // In any order.
				targets = append(targets, wadi.RouteTarget{Revision: wadi.RevisionID("hello", number), Weight: weight})
			}
			split := wadi.SplitOf(targets)
			got := map[int]int{}
			for bucket := range at {
				_, number, _ := wadi.SplitRevisionID(split.Revision(bucket))
				if number < at[bucket] {
					t.Fatalf("bucket %d moves from revision %d back to %d by %v", bucket, at[bucket], number, split)
				}
				at[bucket] = number
				got[number]++
			}
			for number, weight := range weights {
				if got[number] != weight {
					t.Fatalf("revision %d has %d buckets, want %d, by %v", number, got[number], weight, split)
				}
			}
		}
	}
}
