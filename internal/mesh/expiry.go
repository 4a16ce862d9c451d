package mesh

import "time"

// LeafExpiry is when the first of the leaves in use expires, and for how long it is good in
// all. Zero: there is none.
func (s *Source) LeafExpiry() (at time.Time, lifetime time.Duration) {
	s.init()
	for _, l := range s.now.Load().leaves {
		if c := l.cert.Leaf; at.IsZero() || c.NotAfter.Before(at) {
			at, lifetime = c.NotAfter, c.NotAfter.Sub(c.NotBefore)
		}
	}
	return at, lifetime
}
