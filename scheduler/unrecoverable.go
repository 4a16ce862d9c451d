package scheduler

import "strings"

// unrecoverableAfter is how many instances have to end in the same unrecoverable way
// before a revision is given up: Nomad places each elsewhere, if there are other
// nodes, and what one lacks another may have.
const unrecoverableAfter = 3

// unrecoverable reports whether more instances would only end as those before.
func (in *Instances) unrecoverable() bool {
	if in.Ready > 0 || len(in.GivenUp) < unrecoverableAfter {
		return false
	}
	last := in.GivenUp[len(in.GivenUp)-unrecoverableAfter:]
	for _, p := range last[1:] {
		if WithoutNumbers(p) != WithoutNumbers(last[0]) {
			return false
		}
	}
	return true
}

// WithoutNumbers is a problem without what differs each time, as ports and addresses do.
func WithoutNumbers(problem string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, problem)
}
