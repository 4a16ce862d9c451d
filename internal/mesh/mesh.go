// Package mesh is Wadi's access to the Consul service mesh: leaf certificates, roots, and
// TLS configurations with them.
//
// It promises that a connection is only made to, or accepted from, a peer whose
// certificate the mesh's present roots vouch for, resumed sessions included, and that a
// rotation drops no connection. It refuses to decide which service may call which: that is
// for intentions, which its callers evaluate with the identity from PeerID.
package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/wadi-run/wadi"
)

// Source keeps the leaf certificates of Wadi's own services and the mesh's roots. Set its
// fields before Run. Its methods are safe for concurrent use, also before Run.
type Source struct {
	API func() *api.Client // Asked before each call.
	Log hclog.Logger

	// Services are the services whose leaves are kept. The first is the identity of
	// outgoing connections. Empty: only the activator.
	Services []string

	// RotationDelay is how long a new leaf is delayed that only a new root vouches for,
	// until peers know that root; 0 is 10 s.
	RotationDelay time.Duration

	once  sync.Once
	ready chan struct{}
	now   atomic.Pointer[material]

	mu sync.Mutex // Locked while the next material is made.
}

// material is everything that a handshake needs. It never changes.
type material struct {
	bundle *x509bundle.Bundle
	leaves map[string]*leaf // By service.

	// roots counts the changes of bundle. A session that began under other roots is not
	// resumed: its certificates might be refused now, and a refusal ends the connection
	// where a full handshake would succeed.
	roots    uint64
	sessions tls.ClientSessionCache
}

// leaf is a service's certificate.
type leaf struct {
	id    spiffeid.ID
	dc    string
	cert  *tls.Certificate
	chain []*x509.Certificate // The same certificate, parsed.
}

// maxSessions bounds the TLS sessions for resumption: one per recently dialled instance.
const maxSessions = 2048

func (s *Source) init() {
	s.once.Do(func() {
		s.ready = make(chan struct{})
		s.now.Store(&material{})
		if s.Log == nil {
			s.Log = hclog.NewNullLogger()
		}
		if len(s.Services) == 0 {
			s.Services = []string{wadi.ServiceActivator}
		}
	})
}

// Ready is closed when there are roots and all leaves.
func (s *Source) Ready() <-chan struct{} {
	s.init()
	return s.ready
}

// Run keeps roots and leaves up to date until ctx ends. While Consul is unavailable the
// last ones stay in use.
func (s *Source) Run(ctx context.Context) error {
	s.init()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.watch(ctx, "roots", s.fetchRoots) })
	for _, name := range s.Services {
		g.Go(func() error {
			return s.watch(ctx, "leaf of "+name, func(q *api.QueryOptions) (uint64, error) { return s.fetchLeaf(name, q) })
		})
	}
	return g.Wait()
}

// watch repeats one blocking query until ctx ends. After a restart of Consul's agent the
// index may be lower, or the same with another answer, so every answer counts as new.
func (s *Source) watch(ctx context.Context, what string, fetch func(*api.QueryOptions) (uint64, error)) error {
	// Slows down if the agent answers at once every time.
	pace := rate.NewLimiter(rate.Every(time.Second), 5)
	var index uint64
	unavailable := false
	for pace.Wait(ctx) == nil {
		q := (&api.QueryOptions{WaitIndex: index, WaitTime: 5 * time.Minute}).WithContext(ctx)
		next, err := fetch(q)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if !unavailable {
				s.Log.Warn("mesh certificates unavailable", "what", what, "error", err)
			}
			unavailable, index = true, 0
			continue
		case next < index:
			index = 0
		default:
			index = max(next, 1) // Index 0 would not block.
		}
		if unavailable {
			s.Log.Info("mesh certificates available again", "what", what)
			unavailable = false
		}
	}
	return nil
}

func (s *Source) fetchRoots(q *api.QueryOptions) (uint64, error) {
	list, meta, err := s.API().Connect().CARoots(q)
	if err != nil {
		return 0, fmt.Errorf("read mesh roots: %w", err)
	}
	b, err := parseRoots(list)
	if err != nil {
		return 0, err
	}
	s.update(func(m *material) bool {
		if m.bundle != nil && m.bundle.Equal(b) {
			return false
		}
		m.bundle = b
		m.roots++
		return true
	})
	return meta.LastIndex, nil
}

func (s *Source) fetchLeaf(service string, q *api.QueryOptions) (uint64, error) {
	got, meta, err := s.API().Agent().ConnectCALeaf(service, q)
	if err != nil {
		return 0, fmt.Errorf("read leaf of %s: %w", service, err)
	}
	l, err := parseLeaf(service, got)
	if err != nil {
		return 0, err
	}
	if err := s.delayRotation(q.Context(), service, l); err != nil {
		return 0, err
	}
	s.update(func(m *material) bool {
		old := m.leaves[service]
		if old != nil && slices.EqualFunc(old.cert.Certificate, l.cert.Certificate, bytes.Equal) {
			return false
		}
		if old != nil {
			s.Log.Info("mesh certificate rotated", "service", service, "until", l.cert.Leaf.NotAfter)
		}
		m.leaves[service] = l
		return true
	})
	return meta.LastIndex, nil
}

// update replaces the material by a changed copy, if change reports that it changed
// something.
func (s *Source) update(change func(*material) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.now.Load()
	m := &material{
		bundle: old.bundle, leaves: maps.Clone(old.leaves), roots: old.roots,
		sessions: tls.NewLRUClientSessionCache(maxSessions),
	}
	if m.leaves == nil {
		m.leaves = make(map[string]*leaf, len(s.Services))
	}
	if !change(m) {
		return
	}
	s.now.Store(m)
	if m.bundle == nil || len(m.leaves) < len(s.Services) {
		return
	}
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
}

// parseRoots makes a bundle of all roots, retired ones included: the leaves that they
// vouch for are in use until they are renewed.
func parseRoots(list *api.CARootList) (*x509bundle.Bundle, error) {
	td, err := spiffeid.TrustDomainFromString(list.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("parse mesh roots: %w", err)
	}
	b := x509bundle.New(td)
	for _, r := range list.Roots {
		one, err := x509bundle.Parse(td, []byte(r.RootCertPEM))
		if err != nil {
			return nil, fmt.Errorf("parse mesh root %s: %w", r.ID, err)
		}
		for _, c := range one.X509Authorities() {
			b.AddX509Authority(c)
		}
	}
	if b.Empty() {
		return nil, errors.New("parse mesh roots: there is none")
	}
	return b, nil
}

func parseLeaf(service string, got *api.LeafCert) (*leaf, error) {
	// go-spiffe reads PKCS #8 keys only, and Consul writes EC and RSA keys.
	cert, err := tls.X509KeyPair([]byte(got.CertPEM), []byte(got.PrivateKeyPEM))
	if err != nil {
		return nil, fmt.Errorf("parse leaf of %s: %w", service, err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("parse leaf of %s: %w", service, err)
	}
	svid, err := x509svid.ParseRaw(slices.Concat(cert.Certificate...), key)
	if err != nil {
		return nil, fmt.Errorf("parse leaf of %s: %w", service, err)
	}
	dc, name, err := splitID(svid.ID)
	if err != nil {
		return nil, fmt.Errorf("parse leaf of %s: %w", service, err)
	}
	if name != service {
		return nil, fmt.Errorf("parse leaf of %s: it is of %s", service, svid.ID)
	}
	cert.Leaf = svid.Certificates[0]
	return &leaf{id: svid.ID, dc: dc, cert: &cert, chain: svid.Certificates}, nil
}
