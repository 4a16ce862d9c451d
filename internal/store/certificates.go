package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// Account is the account of an installation at a certificate authority.
type Account struct {
	Directory string `json:"directory"`       // URL of the authority's directory.
	Key       string `json:"key"`             // As that of a Certificate.
	Location  string `json:"location"`        // URL of the account.
	Email     string `json:"email,omitempty"` // That the authority knows.
}

// Certificate is the certificate of a domain.
type Certificate struct {
	Domain    string    `json:"domain"`
	Directory string    `json:"directory"` // Of the authority that issued it.
	Chain     string    `json:"chain"`     // In PEM, the domain's certificate first.
	Key       string    `json:"key"`       // In PEM, or encrypted; package acme knows how.
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// Order is what is remembered of the attempts to get a domain's certificate.
type Order struct {
	Domain   string      `json:"domain"`
	Attempts []time.Time `json:"attempts,omitempty"` // When the latest began, the last last.

	// Began is when the attempt under way began; zero: none is. An attempt whose leader
	// is gone is over when its time is.
	Began time.Time `json:"began,omitzero"`

	Failures int       `json:"failures,omitempty"` // In a row.
	Reason   string    `json:"reason,omitempty"`   // Of the last failure, in one word.
	Error    string    `json:"error,omitempty"`    // The same in the authority's words.
	NextTry  time.Time `json:"next_try,omitzero"`  // After a failure: not before.

	Unclaimed time.Time `json:"unclaimed,omitzero"` // Since when no service claims the domain; zero: one does.
}

// Challenge is what an authority is answered that checks a domain, by any agent.
type Challenge struct {
	Domain  string    `json:"domain"`
	Type    string    `json:"type"` // http-01 or tls-alpn-01.
	Token   string    `json:"token"`
	Answer  string    `json:"answer"` // The key authorization.
	Expires time.Time `json:"expires"`
}

// Issued is what is stored of one domain.
type Issued struct {
	Certificate Certificate // Without a domain: there is none.
	Order       Order       // Without a domain: nothing was tried.
	Unreadable  string      // Why one of both can't be read; empty: they can.
}

// WatchCertificates calls fn with the certificates of all domains, now and after every
// change, as WatchRoutes does.
func (s *Store) WatchCertificates(ctx context.Context, fn func(map[string]Certificate)) error {
	return watch(ctx, s, kindCertificate, false, func(now map[string]Certificate, _ map[string]bool) { fn(now) })
}

// WatchChallenges does the same with what authorities are answered.
func (s *Store) WatchChallenges(ctx context.Context, fn func(map[string]Challenge)) error {
	return watch(ctx, s, kindChallenge, false, func(now map[string]Challenge, _ map[string]bool) { fn(now) })
}

// Challenge returns what the authority that checks a domain is answered now.
func (s *Store) Challenge(ctx context.Context, domain string) (Challenge, error) {
	v, _, err := read[Challenge](ctx, s, kindChallenge, domain)
	return v, err
}

// Account returns the account at the authority with this directory.
func (s *Store) Account(ctx context.Context, directory string) (Account, error) {
	v, _, err := read[Account](ctx, s, kindAccount, accountName(directory))
	return v, err
}

// accountName is the end of an account's key.
func accountName(directory string) string {
	h := sha256.Sum256([]byte(directory))
	return hex.EncodeToString(h[:8])
}

// Issued returns what is stored of all domains.
func (s *Store) Issued(ctx context.Context) (map[string]Issued, error) {
	out := map[string]Issued{}
	for _, k := range []kind{kindCertificate, kindOrder} {
		prefix := s.key(k)
		pairs, err := s.kv.List(ctx, prefix)
		if err != nil {
			return nil, fmt.Errorf("read what is stored of domains: %w", err)
		}
		for _, p := range pairs {
			domain := strings.TrimPrefix(p.Key, prefix)
			i := out[domain]
			if k == kindCertificate {
				err = s.decode(p, k, &i.Certificate)
			} else {
				err = s.decode(p, k, &i.Order)
			}
			if s.skip(p, err) {
				i.Unreadable = err.Error()
			}
			out[domain] = i
		}
	}
	return out, nil
}

// PutAccount stores an account.
func (w *Writer) PutAccount(ctx context.Context, a Account) error {
	return w.set(ctx, value{kindAccount, accountName(a.Directory), a})
}

// PutOrder stores what is remembered of a domain's attempts.
func (w *Writer) PutOrder(ctx context.Context, o Order) error {
	return w.set(ctx, value{kindOrder, o.Domain, o})
}

// PutChallenge stores what the authority is answered.
func (w *Writer) PutChallenge(ctx context.Context, c Challenge) error {
	return w.set(ctx, value{kindChallenge, c.Domain, c})
}

// PutCertificate stores a certificate, together with its order.
func (w *Writer) PutCertificate(ctx context.Context, c Certificate, o Order) error {
	return w.set(ctx, value{kindCertificate, c.Domain, c}, value{kindOrder, o.Domain, o})
}

// DeleteChallenge ends the answer to an authority.
func (w *Writer) DeleteChallenge(ctx context.Context, domain string) error {
	return w.deleteKeys(ctx, w.key(kindChallenge, domain))
}

// ForgetDomain removes all that is stored of a domain's certificate.
func (w *Writer) ForgetDomain(ctx context.Context, domain string) error {
	return w.deleteKeys(ctx, w.key(kindCertificate, domain), w.key(kindOrder, domain), w.key(kindChallenge, domain))
}

// value is a value with its place.
type value struct {
	kind kind
	name string
	of   any
}

// set stores values that the leader alone writes: the fence is guard enough.
func (w *Writer) set(ctx context.Context, all ...value) error {
	var ops []consul.Op
	for _, v := range all {
		b, err := w.codec.encode(v.kind, v.of)
		if err != nil {
			return fmt.Errorf("write %s of %s: %w", v.kind, v.name, err)
		}
		ops = append(ops, consul.Op{Verb: consul.Set, Key: w.key(v.kind, v.name), Value: b})
	}
	if _, err := w.kv.Txn(ctx, w.fenced(ops...)); err != nil {
		return fmt.Errorf("write %s of %s: %w", all[0].kind, all[0].name, err)
	}
	return nil
}

func (w *Writer) deleteKeys(ctx context.Context, keys ...string) error {
	var ops []consul.Op
	for _, k := range keys {
		ops = append(ops, consul.Op{Verb: consul.Delete, Key: k})
	}
	if _, err := w.kv.Txn(ctx, w.fenced(ops...)); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("delete %s: %w", strings.Join(keys, ", "), err)
	}
	return nil
}
