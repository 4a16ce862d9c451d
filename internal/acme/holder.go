package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/store"
)

// Source is where certificates and challenges are stored.
type Source interface {
	WatchCertificates(ctx context.Context, fn func(map[string]store.Certificate)) error
	WatchChallenges(ctx context.Context, fn func(map[string]store.Challenge)) error
	Challenge(ctx context.Context, domain string) (store.Challenge, error)
}

var _ Source = (*store.Store)(nil)

// Bounds of questions to Consul that callers cause: a check of the authority may come before
// the watch has told of its challenge.
const (
	lookUpsPerSecond = 10
	lookUpBurst      = 20
	lookUpTimeout    = 2 * time.Second
)

// Holder has the certificates of all domains, and the answers for an authority that checks
// one, whichever agent ordered it. Make it with NewHolder, and run it.
type Holder struct {
	source  Source
	sealer  Sealer
	claimed func(domain string) bool
	log     hclog.Logger
	lookUps *rate.Limiter

	certs      atomic.Pointer[map[string]kept]
	challenges atomic.Pointer[map[string]store.Challenge]
	news       chan struct{}
}

// kept is a stored certificate and what became of it.
type kept struct {
	stored  store.Certificate
	cert    *tls.Certificate // Nil: it can't be used.
	problem string
}

// NewHolder returns a holder without certificates. claimed reports whether a public service
// claims a domain: others are never asked for.
func NewHolder(source Source, sealer Sealer, claimed func(domain string) bool, log hclog.Logger, reg prometheus.Registerer) *Holder {
	h := &Holder{
		source: source, sealer: sealer, claimed: claimed, log: log, news: make(chan struct{}, 1),
		lookUps: rate.NewLimiter(lookUpsPerSecond, lookUpBurst),
	}
	h.certs.Store(&map[string]kept{})
	h.challenges.Store(&map[string]store.Challenge{})
	reg.MustRegister(&expiry{h})
	return h
}

// News has an element when certificates may have changed, or after [Holder.Notify].
func (h *Holder) News() <-chan struct{} { return h.news }

// Notify makes news.
func (h *Holder) Notify() {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// Run follows what is stored until ctx ends. While Consul is away what was known stays.
func (h *Holder) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.source.WatchCertificates(ctx, h.take) })
	g.Go(func() error {
		return h.source.WatchChallenges(ctx, func(all map[string]store.Challenge) { h.challenges.Store(&all) })
	})
	return g.Wait()
}

// take puts certificates in force. One that can't be used leaves the one before it in force.
func (h *Holder) take(all map[string]store.Certificate) {
	before := *h.certs.Load()
	now := make(map[string]kept, len(all))
	for name, stored := range all {
		old, known := before[name]
		if known && old.stored == stored {
			now[name] = old // TLS sessions can be resumed.
			continue
		}
		k := kept{stored: stored}
		cert, err := h.parse(name, stored)
		if err != nil {
			k.cert, k.problem = old.cert, wadi.OneLine(err.Error(), maxError)
			h.log.Error("stored certificate not usable, going on with what was there", "domain", name, "error", k.problem)
		} else {
			k.cert = cert
			h.log.Info("certificate in force", "domain", name, "not_after", stored.NotAfter, "serial", cert.Leaf.SerialNumber)
		}
		now[name] = k
	}
	h.certs.Store(&now)
	h.Notify()
}

func (h *Holder) parse(name string, c store.Certificate) (*tls.Certificate, error) {
	key, err := h.sealer.open(keyName(name), c.Key)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair([]byte(c.Chain), key)
	if err != nil {
		return nil, errors.New("certificate and key don't go together, or can't be read") // The library's error could quote the key.
	}
	if err := cert.Leaf.VerifyHostname(name); err != nil {
		return nil, err
	}
	return &cert, nil
}

// Certificate returns the certificate of a domain, in lower case; nil: there is none. One
// that has expired is better than none: the caller learns what is wrong.
func (h *Holder) Certificate(domain string) *tls.Certificate { return (*h.certs.Load())[domain].cert }

// AnswerHTTP is what an authority is answered that asks a domain for a token (RFC 8555,
// section 8.3); false: no authority that Wadi has ordered from asks so.
func (h *Holder) AnswerHTTP(ctx context.Context, domain, token string) (answer string, ok bool) {
	if !isToken(token) {
		return "", false
	}
	matches := func(c store.Challenge) bool { return c.Type == HTTP && c.Token == token }
	c, ok := h.challenge(ctx, domain, matches)
	return c.Answer, ok
}

// AnswerTLS is the certificate by which an authority recognises that a domain leads here
// (RFC 8737); nil: none is asked for.
func (h *Holder) AnswerTLS(ctx context.Context, domain string) *tls.Certificate {
	c, ok := h.challenge(ctx, domain, func(c store.Challenge) bool { return c.Type == TLSALPN })
	if !ok {
		return nil
	}
	cert, err := acmez.TLSALPN01ChallengeCert(acme.Challenge{
		Identifier: acme.Identifier{Type: "dns", Value: domain}, KeyAuthorization: c.Answer,
	})
	if err != nil {
		h.log.Error("no answer can be made for the certificate authority", "domain", domain, "error", err)
		return nil
	}
	return cert
}

// challenge finds the challenge of a domain: one that is known, or else the one that Consul
// has, within bounds.
func (h *Holder) challenge(ctx context.Context, domain string, matches func(store.Challenge) bool) (store.Challenge, bool) {
	good := func(c store.Challenge) bool { return c.Domain == domain && matches(c) && time.Now().Before(c.Expires) }
	if !h.claimed(domain) {
		return store.Challenge{}, false
	}
	if c := (*h.challenges.Load())[domain]; good(c) {
		return c, true
	}
	if !h.lookUps.Allow() {
		return store.Challenge{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	c, err := h.source.Challenge(ctx, domain)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		h.log.Warn("whether a certificate authority is to be answered is not known", "domain", domain, "error", err)
	}
	if err != nil || !good(c) {
		return store.Challenge{}, false
	}
	return c, true
}

// isToken reports whether a text may be a token of an authority: base64url, of 128 bits at
// least.
func isToken(s string) bool {
	return len(s) >= 22 && len(s) <= 512 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// Held is a certificate of a domain, as an agent has it.
type Held struct {
	Domain   string
	NotAfter time.Time // Zero: there was never one that this agent could use.
	Problem  string    // Why the stored one is not used; what was there before is.
}

// List returns all certificates, sorted by domain.
func (h *Holder) List() []Held {
	all := *h.certs.Load()
	out := make([]Held, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		k := all[name]
		e := Held{Domain: name, Problem: k.problem}
		if k.cert != nil {
			e.NotAfter = k.cert.Leaf.NotAfter
		}
		out = append(out, e)
	}
	return out
}

// expiry collects when certificates expire. The number of domains is bounded by the rules of
// the leader.
type expiry struct{ h *Holder }

func (e *expiry) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(e, ch) }

func (e *expiry) Collect(ch chan<- prometheus.Metric) {
	left := prometheus.NewDesc("wadi_acme_certificate_remaining_seconds",
		"Time until the certificate of a domain expires; negative: it has.", []string{"domain"}, nil)
	now := time.Now()
	for _, c := range e.h.List() {
		if !c.NotAfter.IsZero() {
			ch <- prometheus.MustNewConstMetric(left, prometheus.GaugeValue, c.NotAfter.Sub(now).Seconds(), c.Domain)
		}
	}
}
