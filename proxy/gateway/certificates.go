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
)

// pollInterval is how often the folder is looked at. Links that are switched,
// folders that are renamed and network file systems tell a watch nothing, so that
// looking would be needed beside one; a few stat calls are all that it costs.
const pollInterval = 2 * time.Second

// Certificates are those of a folder. It holds NAME.pem or NAME.crt (the
// certificate, and those between it and its authority) with NAME.key, or all in
// one NAME.pem. For which hosts a certificate is, it says itself; the file's name
// only names it in messages and metrics.
//
// What changes in the folder is in force within seconds. What can't be used is
// reported, and what was there before stays in force: a pair whose files break, and
// all of them when the folder can't be read or has none any more.
type Certificates struct {
	dir   string
	log   hclog.Logger
	table atomic.Pointer[certTable]

	mu       sync.Mutex  // Guards what follows.
	states   []fileState // When the folder was last read.
	again    bool        // It is to be read even if it has not changed.
	pairs    map[string]*pair
	findings map[string]string // By name, "" for the folder: what was wrong when it was last read.
	problems map[string]string // Those doubts that stood for two looks: no file is in mid-writing.
}

// Certificate is one of the folder, for people. One that could never be used has
// a problem alone.
type Certificate struct {
	Name     string    `json:"name"` // Of its files, without extension; empty: about the whole folder.
	Hosts    []string  `json:"hosts,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Problem  string    `json:"problem,omitempty"` // Why the files are not used; what they had before is.
	LooseKey string    `json:"loose_key,omitempty"`
}

// LoadCertificates reads the folder. A pair that can't be used, or none at all, is
// an error: at the start somebody is there to mend it.
func LoadCertificates(dir string, log hclog.Logger, reg prometheus.Registerer) (*Certificates, error) {
	c := &Certificates{dir: dir, log: log, again: true, findings: map[string]string{}, problems: map[string]string{}}
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

// Run looks at the folder every few seconds, until ctx ends.
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

// Refresh looks at the folder now, and reads it if it has changed.
func (c *Certificates) Refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
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
		doubts[""], next = pathFirst(c.dir, err).Error(), c.pairs
	case len(next) == 0 && len(doubts) == 0:
		doubts[""], next = c.dir+": it holds no certificate: put NAME.pem (or NAME.crt) and NAME.key there", c.pairs
	}
	c.states, c.again = states, len(doubts) > 0 || len(c.problems) > 0 ||
		slices.ContainsFunc(states, func(s fileState) bool { return !s.settled(now) })
	c.activate(next)
	c.report(doubts)
}

// activate puts pairs in force; with mu held.
func (c *Certificates) activate(next map[string]*pair) {
	changed := len(next) != len(c.pairs)
	for _, name := range slices.Sorted(maps.Keys(next)) {
		p, old := next[name], c.pairs[name]
		if old != nil && old.sum == p.sum && old.exposedKey == p.exposedKey {
			next[name] = old // Connections resume where they were.
			continue
		}
		changed = true
		c.log.Info("certificate loaded", "name", name, "hosts", p.names, "not_after", p.cert.Leaf.NotAfter.UTC(), "serial", p.cert.Leaf.SerialNumber)
		if p.exposedKey != "" {
			c.log.Warn("everybody on this machine may read a private key; chmod o-rwx", "file", p.exposedKey)
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

// report tells what is wrong, once, when it is still so at the second look: files
// of a pair are rarely replaced at one moment. With mu held.
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

// List says what there is, sorted by name.
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

// TLSConfig is a server's. Without a name from the client (SNI) the first
// certificate by name answers; a name that no certificate covers is refused.
func (c *Certificates) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.table.Load().choose(hello, time.Now()), nil // Nil: the alert unrecognized_name.
		},
	}
}

// certTable says which certificates cover a host. It never changes.
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

// covering returns the pairs for a name that a client asks for: those of that very
// name, then those of the wildcard around it.
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

// choose returns the best certificate that the client understands and that is
// valid by now; else the best.
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
