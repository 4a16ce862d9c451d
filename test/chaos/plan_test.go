//go:build e2e

package main

import (
	"fmt"
	"reflect"
	"testing"
)

// several are kinds of three groups.
func several() (all []kind) {
	for i := range 12 {
		all = append(all, kind{fmt.Sprint("fault ", i), fmt.Sprint("group ", i%3)})
	}
	return all
}

func draw(seed uint64, n int) (out []step) {
	s := newSequence(seed, several())
	for range n {
		out = append(out, s.next())
	}
	return out
}

func TestSequence_IsTheSeeds(t *testing.T) {
	if a, b := draw(7, 100), draw(7, 100); !reflect.DeepEqual(a, b) {
		t.Errorf("one seed gave %v and %v", a, b)
	}
	if a, b := draw(7, 20), draw(8, 20); reflect.DeepEqual(a, b) {
		t.Errorf("two seeds gave %v", a)
	}
}

// Each round has each fault once, and some come together, never two of a group.
func TestSequence_MissesNothing(t *testing.T) {
	group := map[string]string{}
	for _, k := range several() {
		group[k.name] = k.group
	}
	for seed := range uint64(50) {
		s, pairs := newSequence(seed, several()), 0
		for range 5 {
			came := map[string]int{}
			for more := true; more; more = len(s.rest) > 0 {
				st := s.next()
				for _, name := range st {
					came[name]++
				}
				if len(st) == 2 {
					pairs++
					if group[st[0]] == group[st[1]] {
						t.Errorf("seed %d: %v are of one group", seed, st)
					}
				}
			}
			if len(came) != len(group) {
				t.Errorf("seed %d: %d faults came in a round, want %d: %v", seed, len(came), len(group), came)
			}
			for name, n := range came {
				if n != 1 {
					t.Errorf("seed %d: %s came %d times in a round", seed, name, n)
				}
			}
		}
		if pairs < 3 || pairs > 25 {
			t.Errorf("seed %d: %d pairs in five rounds", seed, pairs)
		}
	}
}

func TestTails(t *testing.T) {
	run := draw(1, 5)
	got := []int{}
	for _, tail := range tails(run) {
		got = append(got, len(tail))
		if !reflect.DeepEqual(tail[len(tail)-1], run[4]) {
			t.Errorf("%v does not end with the step that failed", tail)
		}
	}
	if want := []int{1, 2, 4, 5}; !reflect.DeepEqual(got, want) {
		t.Errorf("tails of %v steps, want %v", got, want)
	}
}
