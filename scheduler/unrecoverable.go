package scheduler

import (
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
)

// unrecoverableAfter is how many instances have to end with the same unrecoverable error
// before the revision fails. Nomad places each on another node if there is one, and
// another node may have what the first lacked.
const unrecoverableAfter = 3

// unrecoverable reports whether further instances would only end like the last ones.
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

// givenUpReason says why further instances would only end like the last ones.
func (in *Instances) givenUpReason() string {
	n, why := wadi.Quantity(len(in.GivenUp), "instance"), in.GivenUp[len(in.GivenUp)-1]
	if in.PullFailure != "" {
		return fmt.Sprintf("%s, one after the other, could not have an image, and asking again does not help: %s", n, why)
	}
	return fmt.Sprintf("Nomad gave %s up, one after the other, for the same error, which it calls unrecoverable: %s", n, why)
}

// WithoutNumbers strips the digits from a problem's text: ports and addresses differ each
// time.
func WithoutNumbers(problem string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, problem)
}
