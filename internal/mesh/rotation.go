package mesh

import (
	"cmp"
	"context"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const (
	// defaultRotationDelay is how long Consul may take to give all Envoys a new root. On a
	// busy machine it takes a second.
	defaultRotationDelay = 10 * time.Second
	// rotationPoll is how often the roots are checked during the delay.
	rotationPoll = 250 * time.Millisecond
)

// delayRotation waits before next replaces the leaf in use, if peers may not know its root
// yet: the root was changed without signing the new one by the old one. The leaf in use
// stays good meanwhile, as retired roots stay known.
func (s *Source) delayRotation(ctx context.Context, service string, next *leaf) error {
	until := time.Now().Add(cmp.Or(s.RotationDelay, defaultRotationDelay))
	for reported := false; time.Now().Before(until) && s.peersMayRefuse(service, next); reported = true {
		if !reported {
			s.Log.Info("the rotation to a new mesh certificate is delayed: only a new root vouches for it, which peers may not know yet",
				"service", service, "until", until)
		}
		timer := time.NewTimer(min(rotationPoll, time.Until(until)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// peersMayRefuse reports whether the leaf in use is good, and is vouched for by roots that
// do not vouch for next.
func (s *Source) peersMayRefuse(service string, next *leaf) bool {
	m := s.now.Load()
	old := m.leaves[service]
	if old == nil || m.bundle == nil {
		return false
	}
	_, chains, err := x509svid.Verify(old.chain, m.bundle)
	if err != nil {
		return false // Peers refuse the leaf in use.
	}
	known := x509bundle.New(m.bundle.TrustDomain())
	for _, chain := range chains {
		known.AddX509Authority(chain[len(chain)-1])
	}
	_, _, err = x509svid.Verify(next.chain, known)
	return err != nil
}
