package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/agent/server"
)

// peerDial bounds the connection to another agent, TLS included.
const peerDial = 5 * time.Second

// peers sends what other agents forward to this one's API, and everything else to next.
// Nobody but an agent of this trust domain and datacenter gets so far: in the mesh they
// prove who they are, and activators have no other business with each other.
func (a *Agent) peers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.Header.Get(server.HeaderForwarded) != "" && a.mesh.HasOwnIdentity(*r.TLS) {
			a.peerAPI.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// peerTransport carries reads to the leader: over https the mesh proves that it is an
// agent, before a caller's token goes there.
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

// wayToLeader implements the hook of the API.
func (a *Agent) wayToLeader() (string, error) {
	inMesh := false
	select {
	case <-a.mesh.Ready():
		inMesh = true
	default:
	}
	return wayTo(*a.leader.Load(), inMesh, membership.MachineID())
}

// wayTo is how an agent on the machine here reaches the leader l: over the mesh, where
// both are in it, else at the address that its API listens on, unless that is a loopback
// address of another machine, where somebody else may be.
func wayTo(l leaderInfo, inMesh bool, here string) (string, error) {
	if inMesh && l.Mesh != "" {
		return "https://" + l.Mesh, nil
	}
	u, err := url.Parse(l.URL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("its address %q can't be used", l.URL)
	}
	if !wadi.IsLoopback(u.Hostname()) || here != "" && l.Machine == here {
		return l.URL, nil
	}
	return "", fmt.Errorf("its API listens on %s, for its own machine alone, and this agent has no certificate of the mesh by which agents ask each other: "+
		"turn Consul Connect on, or give the agents an http.address that the others reach; or ask %s on its machine", u.Host, l.Name)
}
