package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/doctor"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/internal/apitls"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/mesh"
)

const (
	peerDial   = 5 * time.Second  // Bounds the connection to another agent, TLS included.
	peerAnswer = 10 * time.Second // Bounds the wait for the header of its answer.
)

// schemeMesh is the scheme of URLs at which an agent is reached over the mesh.
const schemeMesh = "mesh"

// peer is where another agent says that it is.
type peer struct {
	Name    string `json:"name"`
	URL     string `json:"url"`               // Of its API.
	Mesh    string `json:"mesh,omitempty"`    // host:port of its mesh listener.
	Machine string `json:"machine,omitempty"` // See [membership.MachineID].
}

// channel reaches other agents, whose answers it asks for with a caller's token: in the
// mesh, else by the TLS of their API, else in plain text where the caller's token is in no
// more danger than on its way here.
type channel struct {
	name   string          // This agent's.
	inMesh <-chan struct{} // Closed when this agent has certificates of the mesh.
	here   string          // See [membership.MachineID].
	open   bool            // This agent's own API takes plain HTTP from other machines.

	overMesh, overTLS, plain http.RoundTripper
}

// newChannel makes a channel. own is the TLS of this agent's API; nil: it has none.
func newChannel(name string, certificates *mesh.Source, own *apitls.Source, open bool) *channel {
	dial := (&net.Dialer{Timeout: peerDial}).DialContext
	transport := func(dial, dialTLS func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
		return &http.Transport{
			DialContext: dial, DialTLSContext: dialTLS, ResponseHeaderTimeout: peerAnswer,
			IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4,
		}
	}
	return &channel{
		name: name, inMesh: certificates.Ready(), here: membership.MachineID(), open: open,
		plain: transport(dial, nil),
		// The mesh proves that it is an agent, before a caller's token is sent to it.
		overMesh: transport(nil, func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, peerDial)
			defer cancel()
			return certificates.Dial(ctx, addr, wadi.ServiceActivator)
		}),
		overTLS: transport(nil, func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, peerDial)
			defer cancel()
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
			if own != nil {
				cfg = own.ClientConfig(host)
			}
			return (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
		}),
	}
}

// RoundTrip implements [http.RoundTripper], for URLs from address.
func (c *channel) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.Scheme {
	case "https":
		return c.overTLS.RoundTrip(r)
	case schemeMesh:
		r = r.Clone(r.Context())
		r.URL.Scheme = "https"
		return c.overMesh.RoundTrip(r)
	}
	return c.plain.RoundTrip(r)
}

// address returns the base URL at which this agent reaches another one. A loopback address
// of another machine is no way to it: a different program may listen there here.
func (c *channel) address(p peer) (string, error) {
	select {
	case <-c.inMesh:
		if p.Mesh != "" {
			return schemeMesh + "://" + p.Mesh, nil
		}
	default:
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("its address %q can't be used", p.URL)
	}
	switch near := c.here != "" && p.Machine == c.here; {
	case near, !wadi.IsLoopback(u.Hostname()) && (u.Scheme == "https" || c.open):
		return p.URL, nil
	case !wadi.IsLoopback(u.Hostname()):
		return "", fmt.Errorf("its API at %s is plain HTTP, to which no token is sent from an agent that takes none so; "+
			"turn Consul Connect on, or give all agents http.tls; or ask %s itself", u.Host, p.Name)
	}
	return "", fmt.Errorf("its API listens on %s, for its own machine alone, and this agent has no certificate of the mesh by which agents ask each other: "+
		"turn Consul Connect on, or give the agents an http.address that the others reach, with http.tls; or ask %s on its machine", u.Host, p.Name)
}

// get asks another agent, as Consul lists it, for a path of its API for agents. token is the
// caller's, by which it is judged outside the mesh.
func (c *channel) get(ctx context.Context, in consul.Instance, path, token string) (*http.Response, error) {
	base, err := c.address(peer{
		Name: consul.AgentName(in.ID), URL: in.Meta[consul.MetaURL], Mesh: in.Meta[consul.MetaMesh], Machine: in.Meta[consul.MetaMachine],
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", doctor.ErrNoWay, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set(server.HeaderForwarded, c.name)
	if token != "" && r.URL.Scheme != schemeMesh { // There an agent is believed for its identity.
		r.Header.Set("X-Nomad-Token", token)
	}
	return c.RoundTrip(r)
}

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
