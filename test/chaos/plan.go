//go:build e2e

package main

import (
	"math/rand/v2"
	"strings"
)

// kind is a fault as far as the choice needs it.
type kind struct{ name, group string }

// step is one fault, or two at once.
type step []string

func (s step) String() string { return strings.Join(s, " AND ") }

// pairShare is the share of steps with two faults: one in pairShare.
const pairShare = 3

// sequence draws faults without end. The same seed and kinds give the same steps; what else
// happens in a run, such as which request is where when something breaks, no seed decides.
//
// Every fault comes once in each round, so that none is missed by chance; the order, and which
// ones come together, is the seed's. Two faults at once are of different groups: two of one
// group may be about the same process.
type sequence struct {
	rng  *rand.Rand
	all  []kind
	rest []kind // Of this round.
}

func newSequence(seed uint64, all []kind) *sequence {
	return &sequence{rng: rand.New(rand.NewPCG(seed, 16)), all: all}
}

func (s *sequence) next() step {
	if len(s.rest) == 0 {
		for _, i := range s.rng.Perm(len(s.all)) {
			s.rest = append(s.rest, s.all[i])
		}
	}
	first := s.take(0)
	pair := s.rng.IntN(pairShare) == 0
	if pair {
		for i, k := range s.rest {
			if k.group != first.group {
				return step{first.name, s.take(i).name}
			}
		}
	}
	return step{first.name}
}

func (s *sequence) take(i int) kind {
	k := s.rest[i]
	s.rest = append(s.rest[:i:i], s.rest[i+1:]...)
	return k
}

// tails are the ends of a run that failed at its last step, shortest first: that step alone,
// the last two, four, and so on, up to the whole.
func tails(run []step) (out [][]step) {
	for n := 1; ; n *= 2 {
		out = append(out, run[max(0, len(run)-n):])
		if n >= len(run) {
			return out
		}
	}
}
