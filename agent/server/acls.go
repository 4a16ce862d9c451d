package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

const (
	aclsAge     = 5 * time.Second // For which Nomad's answer is used again.
	aclsTimeout = 3 * time.Second
)

// acls remembers whether Nomad has ACLs. The zero value is ready.
type acls struct {
	mu  sync.Mutex
	at  time.Time
	off bool
}

// isOff reports whether Nomad is known to have no ACLs. While it can't be asked the last
// answer stands: what needs a right asks Nomad itself, and fails.
func (a *acls) isOff(ctx context.Context, ask func(context.Context) (bool, error)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.at) < aclsAge {
		return a.off
	}
	// The answer is for all callers, so it outlives the one that is here first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aclsTimeout)
	defer cancel()
	if on, err := ask(ctx); err == nil {
		a.off = !on
	}
	a.at = time.Now()
	return a.off
}

// anonymous refuses callers of other machines where Nomad has no ACLs: no token tells one
// from another, and each would have every right. A client certificate of the API's own
// authority does, and another agent has proved that it is one.
func (s *Server) anonymous(r *http.Request) error {
	switch {
	case s.Auth == wadi.AuthNone, s.ACLs == nil, fromHere(r), r.Context().Value(peerKey{}) != nil:
		return nil // Serve refuses listeners for other machines that have no authentication.
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		return nil
	case s.acls.isOff(r.Context(), s.ACLs):
		return &api.Error{Status: http.StatusForbidden, Message: "Nomad has no ACLs, so a token proves nothing: callers of other machines are refused; " +
			"turn ACLs on in Nomad, or have callers show a certificate (http.tls.verify_client)"}
	}
	return nil
}
