package mesh

import (
	"cmp"
	"context"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const (
	// defaultSettle is how long Consul may take to tell all Envoys of a new root. On a
	// busy machine it takes a second.
	defaultSettle = 10 * time.Second
	// settlePoll is how often the leaf in use is looked at meanwhile.
	settlePoll = 250 * time.Millisecond
)

// holdBack waits before next takes the place of the leaf in use, if peers may not know
// its root yet: Consul was told to change the root without signing the new one by the
// old one. The leaf in use is as good as before meanwhile, as retired roots stay known.
func (s *Source) holdBack(ctx context.Context, service string, next *leaf) error {
	until := time.Now().Add(cmp.Or(s.Settle, defaultSettle))
	for told := false; time.Now().Before(until) && s.betterNot(service, next); told = true {
		if !told {
			s.Log.Info("a new mesh certificate is held back: only a new root vouches for it, and peers may not know that yet",
				"service", service, "until", until)
		}
		timer := time.NewTimer(min(settlePoll, time.Until(until)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// betterNot reports whether the leaf in use is good, and vouched for by a root that does
// not vouch for next.
func (s *Source) betterNot(service string, next *leaf) bool {
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
