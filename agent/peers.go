package agent

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/internal/mesh"
)

// peerDial bounds the connection to another agent, TLS included.
const peerDial = 5 * time.Second

// forPeers sends what other agents forward to peers, this agent's API for them, and
// everything else to next.
// Only agents of this trust domain and datacenter have an identity of Wadi's own in the
// mesh, and activators send each other nothing else.
func forPeers(identities *mesh.Source, peers func() http.Handler, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.Header.Get(server.HeaderForwarded) != "" && identities.HasOwnIdentity(*r.TLS) {
			peers().ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// peerTransport carries reads to the leader. Over https the mesh proves that it is an
// agent, before a caller's token is sent to it.
func peerTransport(certificates *mesh.Source) *http.Transport {
	plain := net.Dialer{Timeout: peerDial}
	return &http.Transport{
		DialContext: plain.DialContext,
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, peerDial)
			defer cancel()
			return certificates.Dial(ctx, addr, wadi.ServiceActivator)
		},
		ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   4,
	}
}
