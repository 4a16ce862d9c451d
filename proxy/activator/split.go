package activator

import (
	"math/rand/v2"
	"net/http"

	"github.com/wadi-run/wadi"
)

// split chooses the revision of a service's mesh calls that name none: Envoy can't choose it
// by a user's bucket, and leaves it to an activator. Its caller gains nothing by leaving the
// revision out itself: what it gets is a revision with a share of the traffic.
type split struct {
	service string
	header  string // The sticky header in canonical form; empty: none.
	shares  wadi.Split
}

func newSplit(route wadi.Route) *split {
	s := &split{service: route.Service, shares: wadi.SplitOf(route.Targets)}
	if route.Sticky != nil {
		s.header = http.CanonicalHeaderKey(route.Sticky.Header)
	}
	return s
}

// pick returns the revision of a user's bucket by the sticky header, else any by weight;
// empty without one that has a share. s may be nil. Envoy may still leave the choice to an
// activator when the setting is gone already.
func (s *split) pick(h http.Header) string {
	if s == nil {
		return ""
	}
	bucket, ok := 0, false
	if s.header != "" {
		bucket, ok = wadi.BucketOf(s.service, h[s.header])
	}
	if !ok {
		bucket = rand.IntN(wadi.WeightAll)
	}
	return s.shares.Revision(bucket)
}
