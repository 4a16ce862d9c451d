// Package apitls holds the certificate of an agent's API and the authority that it trusts,
// read again whenever their files change.
//
// It promises that files that can't be used never replace ones that can, and that each
// handshake uses a certificate, a key and an authority that were read together. It refuses
// to decide what a peer may do: a client certificate opens the connection, a token the API.
package apitls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// pollInterval is how often the files are read. A watch would miss switched links and
// network file systems; three small files cost little.
const pollInterval = 2 * time.Second

// Files name what a Source reads. Cert and Key are required.
type Files struct {
	Cert string // PEM: the certificate, then its intermediates.
	Key  string // PEM.
	CA   string // PEM: the authorities of clients and of other agents; empty: the system's.

	// VerifyClient refuses clients without a certificate of CA, which is required then.
	VerifyClient bool
}

// Source serves the present certificate. Make it with Load. It is safe for concurrent use.
type Source struct {
	log hclog.Logger
	now atomic.Pointer[material]

	mu      sync.Mutex // Guards the fields below.
	files   Files
	finding string // Error of the last reading; empty: none.
	problem string // An error of two readings in a row: no file is being written.
}

// Status describes what is in force.
type Status struct {
	Names    []string  // Hosts and addresses of the certificate.
	NotAfter time.Time // When it expires.
	Problem  string    // Why the files are not used; their previous content is. Empty: they are.
	LooseKey string    // The key's file, if every user of the machine may read it.
}

// Load reads the files. An error names the file at fault.
func Load(f Files, log hclog.Logger) (*Source, error) {
	m, err := read(f)
	if err != nil {
		return nil, err
	}
	s := &Source{log: log, files: f}
	s.use(m)
	return s, nil
}

// Change replaces the files by others. On an error nothing changes.
func (s *Source) Change(f Files) error {
	m, err := read(f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files, s.finding, s.problem = f, "", ""
	s.use(m)
	return nil
}

// Run reads the files every few seconds until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.Refresh()
		}
	}
}

// Refresh reads the files now. An error is logged once, when a second reading in a row has
// it: a certificate and its key are rarely replaced at the same moment.
func (s *Source) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := read(s.files)
	if err == nil {
		if s.problem != "" {
			s.log.Info("certificate of the API has no problem any more")
		}
		s.finding, s.problem = "", ""
		s.use(m)
		return
	}
	what := err.Error()
	if s.finding == what && s.problem != what {
		s.problem = what
		s.log.Error("certificate of the API not loaded, going on with what was there", "error", what)
	}
	s.finding = what
}

// use puts m in force, unless the same is.
func (s *Source) use(m *material) {
	old := s.now.Load()
	if old != nil && old.sum == m.sum && old.verifyClient == m.verifyClient {
		return // TLS sessions can be resumed.
	}
	s.now.Store(m)
	s.log.Info("certificate of the API loaded", "names", m.names(), "not_after", m.cert.Leaf.NotAfter.UTC(), "serial", m.cert.Leaf.SerialNumber)
	if m.looseKey != "" {
		s.log.Warn("every user of this machine may read the API's private key; chmod o-rwx", "file", m.looseKey)
	}
}

// Status is what is in force now.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.now.Load()
	return Status{Names: m.names(), NotAfter: m.cert.Leaf.NotAfter, Problem: s.problem, LooseKey: m.looseKey}
}

// HasName reports whether the present certificate is for a host, by a wildcard perhaps.
func (s *Source) HasName(host string) bool { return s.now.Load().cert.Leaf.VerifyHostname(host) == nil }

// ServerConfig is the configuration of the API's listener. A session that began by a
// certificate before is resumed, but not that of a client whose authority is gone.
func (s *Source) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.now.Load().server, nil
		},
	}
}

// ClientConfig is the configuration for a connection to another agent's API at host, a name
// or an address. That agent's certificate is of the authority, and for host, or for a name
// that the own certificate has too: agents that share a certificate, or a name, know each
// other by it. The own certificate is shown where the other agent asks for one.
func (s *Source) ClientConfig(host string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: host,
		NextProtos: []string{"http/1.1"},
		// VerifyConnection verifies chain and name in place of Go, which takes one name only.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return s.now.Load().verify(state.PeerCertificates, host)
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return s.now.Load().cert, nil
		},
	}
}

// verify checks another agent's certificates.
func (m *material) verify(peer []*x509.Certificate, host string) error {
	if len(peer) == 0 {
		return errors.New("the other agent has no certificate")
	}
	opts := x509.VerifyOptions{Roots: m.authority, Intermediates: x509.NewCertPool()}
	for _, c := range peer[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := peer[0].Verify(opts); err != nil {
		return fmt.Errorf("verify the other agent's certificate: %w", err)
	}
	err := peer[0].VerifyHostname(host)
	for _, own := range m.cert.Leaf.DNSNames {
		if err != nil && peer[0].VerifyHostname(own) == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w; give the agents certificates with the address or the name of each (advertise), or with a name that all have", err)
	}
	return nil
}
