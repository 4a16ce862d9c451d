package list_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/proxy/list"
)

type value struct {
	id   int
	node list.Node[*value]
}

func ids(l *list.List[*value]) (out []int) {
	for v := range l.All() {
		out = append(out, v.id)
	}
	return out
}

// Whatever is done, a list is what a slice would be.
func TestList_IsASlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var l, other list.List[*value]
	values := make([]value, 12)
	for i := range values {
		values[i].id = i
	}
	var want []int
	for step := range 20_000 {
		v := &values[rng.IntN(len(values))]
		i := slices.Index(want, v.id)
		switch op := rng.IntN(3); {
		case i >= 0:
			if !l.Has(&v.node) || other.Has(&v.node) || other.Remove(&v.node) || !l.Remove(&v.node) {
				t.Fatalf("step %d: %d is not in its list alone", step, v.id)
			}
			want = slices.Delete(want, i, i+1)
		case op == 0:
			l.PushFront(&v.node, v)
			want = slices.Insert(want, 0, v.id)
		default:
			l.PushBack(&v.node, v)
			want = append(want, v.id)
		}
		if diff := cmp.Diff(want, ids(&l)); len(want) != l.Len() || len(want) > 0 && diff != "" {
			t.Fatalf("step %d: %d values (-want +got):\n%s", step, l.Len(), diff)
		}
		if first := l.First(); (first == nil) != (len(want) == 0) || first != nil && first.id != want[0] {
			t.Fatalf("step %d: the first is %v, want that of %v", step, first, want)
		}
		if last := l.Last(); (last == nil) != (len(want) == 0) || last != nil && last.id != want[len(want)-1] {
			t.Fatalf("step %d: the last is %v, want that of %v", step, last, want)
		}
	}
}

// The current value of All may be removed.
func TestList_RemoveInAll(t *testing.T) {
	var l list.List[*value]
	values := make([]value, 6)
	for i := range values {
		values[i].id = i
		l.PushBack(&values[i].node, &values[i])
	}
	var seen []int
	for v := range l.All() {
		if seen = append(seen, v.id); v.id%2 == 0 {
			l.Remove(&v.node)
		}
		if v.id == 4 {
			break
		}
	}
	if diff := cmp.Diff([][]int{{0, 1, 2, 3, 4}, {1, 3, 5}}, [][]int{seen, ids(&l)}); diff != "" {
		t.Errorf("seen, left (-want +got):\n%s", diff)
	}
}

func TestList_RefusesWhatIsInAList(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a value is in two lists")
		}
	}()
	var one, two list.List[*value]
	v := &value{}
	one.PushBack(&v.node, v)
	two.PushBack(&v.node, v)
}

func TestList_Allocations(t *testing.T) {
	var l list.List[*value]
	values := make([]value, 3)
	if got := testing.AllocsPerRun(100, func() {
		for i := range values {
			l.PushBack(&values[i].node, &values[i])
		}
		for v := range l.All() {
			l.Remove(&v.node)
		}
	}); got > 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
