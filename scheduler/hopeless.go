package scheduler

import "strings"

// hopelessAfter is how many instances have to end in the same unrecoverable way
// before a revision is given up: Nomad places each elsewhere, if there are other
// nodes, and what one lacks another may have.
const hopelessAfter = 3

// hopeless reports whether more instances would only end as those before.
func (in *Instances) hopeless() bool {
	if in.Ready > 0 || len(in.GivenUp) < hopelessAfter {
		return false
	}
	last := in.GivenUp[len(in.GivenUp)-hopelessAfter:]
	for _, p := range last[1:] {
		if Fact(p) != Fact(last[0]) {
			return false
		}
	}
	return true
}

// Fact is a problem without what differs each time, as ports and addresses do.
func Fact(problem string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, problem)
}
