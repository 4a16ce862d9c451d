package agent

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/server"
)

// peerDial bounds the connection to another agent, TLS included.
const peerDial = 5 * time.Second

// forPeers sends what other agents forward to this one's API, and everything else to next.
// Only agents of this trust domain and datacenter have an identity of Wadi's own in the
// mesh, and activators send each other nothing else.
func (a *Agent) forPeers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.Header.Get(server.HeaderForwarded) != "" && a.mesh.HasOwnIdentity(*r.TLS) {
			a.api.peers.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// peerTransport carries reads to the leader. Over https the mesh proves that it is an
// agent, before a caller's token is sent to it.
func (a *Agent) peerTransport() *http.Transport {
	plain := net.Dialer{Timeout: peerDial}
	return &http.Transport{
		DialContext: plain.DialContext,
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, peerDial)
			defer cancel()
			return a.mesh.Dial(ctx, addr, wadi.ServiceActivator)
		},
		ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   4,
	}
}
