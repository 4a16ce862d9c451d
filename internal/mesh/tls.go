package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/wadi-run/wadi"
)

// errNotReady says that there are no roots or no leaf yet.
var errNotReady = fmt.Errorf("%w: no mesh certificates yet", wadi.ErrUnavailable)

// ServerConfig is the TLS configuration of the mesh listener. A client must present a
// certificate of the mesh; the caller of ServerConfig decides by PeerID what the client
// may do. The listener presents the leaf of the service that the first label of the
// client's SNI names, or else of the first of Services.
func (s *Source) ServerConfig() *tls.Config {
	s.init()
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		// VerifyConnection verifies the chain: unlike VerifyPeerCertificate it is also
		// called for resumed sessions, whose roots may be gone.
		ClientAuth: tls.RequireAnyClientCert,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			label, _, _ := strings.Cut(h.ServerName, ".")
			m := s.now.Load()
			l := m.leaves[label]
			if l == nil {
				l = m.leaves[s.Services[0]]
			}
			if l == nil {
				return nil, errNotReady
			}
			return l.cert, nil
		},
		VerifyConnection: s.verify(tlsconfig.AuthorizeAny()),
	}
	// A ticket contains the number of the roots under which it was issued.
	cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, binary.BigEndian.AppendUint64(nil, s.now.Load().roots))
		return cfg.EncryptTicket(cs, ss)
	}
	cfg.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := cfg.DecryptTicket(ticket, cs)
		if err != nil || ss == nil {
			return nil, err
		}
		now := binary.BigEndian.AppendUint64(nil, s.now.Load().roots)
		if !slices.ContainsFunc(ss.Extra, func(b []byte) bool { return bytes.Equal(b, now) }) {
			return nil, nil // A full handshake instead.
		}
		return ss, nil
	}
	return cfg
}

// ClientConfig is the TLS configuration for a connection to an instance of a service: its
// SNI in the mesh, the first leaf, and a peer that must be that service in the same
// datacenter. protos are offered in the handshake; without any it is http/1.1, which an
// Envoy in front of an HTTP/1 app speaks. It is for one dial: the next dial may have other
// sessions to resume.
func (s *Source) ClientConfig(service string, protos ...string) (*tls.Config, error) {
	s.init()
	m := s.now.Load()
	me := m.leaves[s.Services[0]]
	if me == nil {
		return nil, errNotReady
	}
	td := me.id.TrustDomain()
	want, err := spiffeid.FromSegments(td, "ns", "default", "dc", me.dc, "svc", service)
	if err != nil {
		return nil, fmt.Errorf("mesh identity of %s: %w", service, err)
	}
	if len(protos) == 0 {
		protos = []string{"http/1.1"}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: fmt.Sprintf("%s.default.%s.internal.%s", service, me.dc, td.Name()),
		NextProtos: protos,
		// The mesh's certificates name services, not hosts: VerifyConnection checks chain
		// and name instead of Go.
		InsecureSkipVerify: true,
		VerifyConnection:   s.verify(tlsconfig.AuthorizeID(want)),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			l := s.now.Load().leaves[s.Services[0]]
			if l == nil {
				return nil, errNotReady
			}
			return l.cert, nil
		},
		ClientSessionCache: m.sessions,
	}, nil
}

// Dial connects to an instance of a service by mTLS, with the protocols of
// [Source.ClientConfig].
func (s *Source) Dial(ctx context.Context, addr, service string, protos ...string) (net.Conn, error) {
	cfg, err := s.ClientConfig(service, protos...)
	if err != nil {
		return nil, fmt.Errorf("dial %s at %s: %w", service, addr, err)
	}
	// Each instance has its own session keys, though all have the same SNI.
	cfg.ClientSessionCache = byAddress{addr, cfg.ClientSessionCache}
	d := tls.Dialer{Config: cfg}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s at %s: %w", service, addr, err)
	}
	return c, nil
}

// byAddress separates the sessions of different instances.
type byAddress struct {
	addr string
	tls.ClientSessionCache
}

// Get implements tls.ClientSessionCache.
func (c byAddress) Get(key string) (*tls.ClientSessionState, bool) {
	return c.ClientSessionCache.Get(c.addr + "/" + key)
}

// Put implements tls.ClientSessionCache.
func (c byAddress) Put(key string, s *tls.ClientSessionState) {
	c.ClientSessionCache.Put(c.addr+"/"+key, s)
}

// verify checks a peer against the present roots.
func (s *Source) verify(authorize tlsconfig.Authorizer) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		b := s.now.Load().bundle
		if b == nil {
			return errNotReady
		}
		id, chains, err := x509svid.Verify(state.PeerCertificates, b)
		if err != nil {
			return err
		}
		return authorize(id, chains)
	}
}

// PeerID is the name of the service in a peer's certificate. The connection must have been
// made with a Source's configuration, which verified the certificate.
func PeerID(state tls.ConnectionState) (service string, err error) {
	if len(state.PeerCertificates) == 0 {
		return "", errors.New("peer has no certificate")
	}
	id, err := x509svid.IDFromCert(state.PeerCertificates[0])
	if err != nil {
		return "", fmt.Errorf("peer identity: %w", err)
	}
	_, service, err = splitID(id)
	return service, err
}

// HasOwnIdentity reports whether a peer's certificate has the identity of the first leaf,
// trust domain and datacenter included: the peer is an agent of the same mesh. The
// connection must have been made with a Source's configuration.
func (s *Source) HasOwnIdentity(state tls.ConnectionState) bool {
	s.init()
	own := s.now.Load().leaves[s.Services[0]]
	if own == nil || len(state.PeerCertificates) == 0 {
		return false
	}
	id, err := x509svid.IDFromCert(state.PeerCertificates[0])
	return err == nil && id == own.id
}

// splitID parses /ns/default/dc/<dc>/svc/<service>.
func splitID(id spiffeid.ID) (dc, service string, err error) {
	p := strings.Split(strings.TrimPrefix(id.Path(), "/"), "/")
	// Services of other namespaces have other names.
	if len(p) != 6 || p[0] != "ns" || p[1] != "default" || p[2] != "dc" || p[4] != "svc" {
		return "", "", fmt.Errorf("peer identity %s is not a service's", id)
	}
	return p[3], p[5], nil
}
