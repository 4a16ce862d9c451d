package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/internal/certfile"
)

// pollInterval is how often the folder is checked. A watch would miss switched links,
// renamed folders and network file systems; polling costs a few stat calls.
const pollInterval = 2 * time.Second

// Certificates serves the certificates of a folder. The folder holds NAME.pem or NAME.crt
// (the certificate and its intermediates) with NAME.key, or all in one NAME.pem. The hosts
// are those in the certificate; the file's name only appears in messages and metrics.
//
// Changes of the folder are in force within seconds. Files that can't be used are reported,
// and their previous version stays in force: one pair, or all pairs when the folder can't be
// read or is empty.
//
// Beside the folder there may be [Domains]. Where both have a certificate, the folder's is
// served.
type Certificates struct {
	dir     string  // Empty: there is no folder.
	domains Domains // Nil: there are none.
	log     hclog.Logger
	table   atomic.Pointer[certTable]

	mu       sync.Mutex  // Guards the fields below.
	states   []fileState // Of the last reading of the folder.
	again    bool        // The folder is to be read although it has not changed.
	pairs    map[string]*pair
	findings map[string]string // By name, "" for the folder: errors of the last reading.
	problems map[string]string // Findings of two readings in a row: no file is being written.
}

// Certificate describes a certificate of the folder. One that was never usable has only a
// name and a problem.
type Certificate struct {
	Name     string    `json:"name"` // Of its files, without extension; "": the whole folder.
	Hosts    []string  `json:"hosts,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Problem  string    `json:"problem,omitempty"` // Why the files are not used; their previous content is.
	LooseKey string    `json:"loose_key,omitempty"`
}

// LoadCertificates reads the folder. A pair that can't be used, or a folder without pairs,
// is an error: at the start the operator is there to fix it. With domains there may be no
// folder: dir is empty then.
func LoadCertificates(dir string, domains Domains, log hclog.Logger, reg prometheus.Registerer) (*Certificates, error) {
	c := &Certificates{dir: dir, domains: domains, log: log, again: true, findings: map[string]string{}, problems: map[string]string{}}
	c.table.Store(newCertTable(nil))
	c.Refresh()
	if len(c.findings) > 0 {
		var errs []error
		for _, name := range slices.Sorted(maps.Keys(c.findings)) {
			errs = append(errs, errors.New(c.findings[name]))
		}
		return nil, fmt.Errorf("gateway: load certificates: %w", errors.Join(errs...))
	}
	if err := reg.Register(&certCollector{c}); err != nil {
		return nil, fmt.Errorf("gateway: register metrics: %w", err)
	}
	return c, nil
}

// Run refreshes every few seconds, until ctx ends.
func (c *Certificates) Run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.Refresh()
		}
	}
}

// Refresh checks the folder now, and reads it if it has changed.
func (c *Certificates) Refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" {
		return
	}
	now := time.Now()
	found, states, err := scan(c.dir)
	if err == nil && !c.again && slices.EqualFunc(states, c.states, fileState.same) {
		return
	}
	doubts := map[string]string{}
	next := map[string]*pair{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		p, err := found[name].load(name)
		if errors.Is(err, errNoPair) {
			continue
		}
		if err != nil {
			doubts[name], p = err.Error(), c.pairs[name]
		}
		if p != nil {
			next[name] = p
		}
	}
	switch {
	case err != nil:
		doubts[""], next = certfile.PathFirst(c.dir, err).Error(), c.pairs
	case len(next) == 0 && len(doubts) == 0:
		doubts[""], next = c.dir+": it holds no certificate: put NAME.pem (or NAME.crt) and NAME.key there", c.pairs
	}
	c.states, c.again = states, len(doubts) > 0 || len(c.problems) > 0 ||
		slices.ContainsFunc(states, func(s fileState) bool { return !s.settled(now) })
	c.activate(next)
	c.report(doubts)
}

// activate puts pairs in force. The caller holds the mutex.
func (c *Certificates) activate(next map[string]*pair) {
	changed := len(next) != len(c.pairs)
	for _, name := range slices.Sorted(maps.Keys(next)) {
		p, old := next[name], c.pairs[name]
		if old != nil && old.sum == p.sum && old.exposedKey == p.exposedKey {
			next[name] = old // TLS sessions can be resumed.
			continue
		}
		changed = true
		c.log.Info("certificate loaded", "name", name, "hosts", p.names, "not_after", p.cert.Leaf.NotAfter.UTC(), "serial", p.cert.Leaf.SerialNumber)
		if p.exposedKey != "" {
			c.log.Warn("every user of this machine may read a private key; chmod o-rwx", "file", p.exposedKey)
		}
	}
	for name := range c.pairs {
		if next[name] == nil {
			c.log.Info("certificate gone", "name", name)
		}
	}
	c.pairs = next
	if changed {
		c.table.Store(newCertTable(next))
	}
}

// report logs a finding once, at the second reading in a row that has it: the two files of
// a pair are rarely replaced at the same moment. The caller holds the mutex.
func (c *Certificates) report(doubts map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(doubts)) {
		if what := doubts[name]; c.findings[name] == what && c.problems[name] != what {
			c.problems[name] = what
			c.log.Error("certificate not loaded, going on with what was there", "name", name, "error", what)
		}
	}
	for name := range c.problems {
		if doubts[name] == "" {
			delete(c.problems, name)
			c.log.Info("certificate has no problem any more", "name", name)
		}
	}
	c.findings = doubts
}

// List returns all certificates and problems, sorted by name.
func (c *Certificates) List() []Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Certificate
	for _, name := range slices.Sorted(maps.Keys(c.pairs)) {
		p := c.pairs[name]
		out = append(out, Certificate{Name: name, Hosts: p.names, NotAfter: p.cert.Leaf.NotAfter, LooseKey: p.exposedKey, Problem: c.problems[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(c.problems)) {
		if c.pairs[name] == nil {
			out = append(out, Certificate{Name: name, Problem: c.problems[name]})
		}
	}
	return out
}

// Covers reports whether the folder has a certificate for a host.
func (c *Certificates) Covers(host string) bool { return len(c.table.Load().covering(host)) > 0 }

// TLSConfig is the configuration of a server. A client without a server name (SNI) gets the
// first certificate of the folder by name; a name that no certificate covers is refused.
func (c *Certificates) TLSConfig() *tls.Config {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.choose(hello, time.Now()), nil // Nil causes the alert unrecognized_name.
		},
	}
	if c.domains != nil {
		conf.GetConfigForClient = c.forAuthority
	}
	return conf
}

// choose returns the certificate for a client: the folder's, or else that of the domain.
func (c *Certificates) choose(hello *tls.ClientHelloInfo, now time.Time) *tls.Certificate {
	if cert := c.table.Load().choose(hello, now); cert != nil || c.domains == nil || hello.ServerName == "" {
		return cert
	}
	return c.domains.Certificate(normalize(hello.ServerName))
}

// certTable maps hosts to certificates. It never changes.
type certTable struct {
	byName map[string][]*pair // By DNS name or wildcard, the best first.
	first  []*pair            // The first by name, or none.
}

func newCertTable(pairs map[string]*pair) *certTable {
	t := &certTable{byName: map[string][]*pair{}}
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		p := pairs[name]
		if t.first == nil {
			t.first = []*pair{p}
		}
		for _, n := range p.names {
			t.byName[n] = append(t.byName[n], p)
		}
	}
	for _, ps := range t.byName {
		slices.SortStableFunc(ps, func(a, b *pair) int { return b.cert.Leaf.NotAfter.Compare(a.cert.Leaf.NotAfter) })
	}
	return t
}

// covering returns the pairs for a client's server name: those for the name itself, then
// those for the wildcard that covers it.
func (t *certTable) covering(sni string) []*pair {
	if sni == "" {
		return t.first
	}
	sni = normalize(sni)
	out := t.byName[sni]
	if _, parent, ok := strings.Cut(sni, "."); ok {
		out = slices.Concat(out, t.byName["*."+parent])
	}
	return out
}

// choose returns the best certificate that the client supports and that is valid at now,
// otherwise the best one.
func (t *certTable) choose(hello *tls.ClientHelloInfo, now time.Time) *tls.Certificate {
	all := t.covering(hello.ServerName)
	for _, p := range all {
		if !now.Before(p.cert.Leaf.NotBefore) && hello.SupportsCertificate(p.cert) == nil {
			return p.cert
		}
	}
	if len(all) > 0 {
		return all[0].cert
	}
	return nil
}

// isCA reports whether the first certificate is an authority's.
func isCA(certPEM []byte) bool {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && cert.IsCA
}
