package mesh

import (
	"cmp"
	"context"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const (
	// defaultRotationDelay is how long Consul may take to tell all Envoys of a new root. On a
	// busy machine it takes a second.
	defaultRotationDelay = 10 * time.Second
	// rotationPoll is how often the leaf in use is looked at meanwhile.
	rotationPoll = 250 * time.Millisecond
)

// delayRotation waits before next takes the place of the leaf in use, if peers may not know
// its root yet: Consul was told to change the root without signing the new one by the
// old one. The leaf in use is as good as before meanwhile, as retired roots stay known.
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

// peersMayRefuse reports whether the leaf in use is good, and vouched for by a root that does
// not vouch for next.
func (s *Source) peersMayRefuse(service string, next *leaf) bool {
	m := s.now.Load()
	old := m.leaves[service]
	if old == nil || m.bundle == nil {
		return false
	}
	_, chains, err := x509svid.Verify(old.chain, m.bundle)
	if err != nil {
		return false // Nobody takes it any more.
	}
	known := x509bundle.New(m.bundle.TrustDomain())
	for _, chain := range chains {
		known.AddX509Authority(chain[len(chain)-1])
	}
	_, _, err = x509svid.Verify(next.chain, known)
	return err != nil
}
