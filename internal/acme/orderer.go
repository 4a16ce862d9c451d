package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/go-hclog"

	"github.com/mholt/acmez/v3/acme"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/store"
)

// Stored is what the leader keeps of certificates. All writes fail with
// [wadi.ErrNotLeading] once it leads no more.
type Stored interface {
	Issued(ctx context.Context) (map[string]store.Issued, error)
	Account(ctx context.Context, directory string) (store.Account, error)
	PutAccount(ctx context.Context, a store.Account) error
	PutOrder(ctx context.Context, o store.Order) error
	PutCertificate(ctx context.Context, c store.Certificate, o store.Order) error
	PutChallenge(ctx context.Context, c store.Challenge) error
	DeleteChallenge(ctx context.Context, domain string) error
	ForgetDomain(ctx context.Context, domain string) error
}

var _ Stored = (*store.Writer)(nil)

// Issuer is the authority.
type Issuer interface {
	Register(ctx context.Context, key *ecdsa.PrivateKey) (location string, err error)
	Update(ctx context.Context, key *ecdsa.PrivateKey, location string) error
	Obtain(ctx context.Context, ask Ask, present func(ctx context.Context, token, answer string) error) (chain []byte, err error)
	RetryAfter() time.Duration
}

var _ Issuer = (*Authority)(nil)

// Orderer orders the certificates of all domains, of which it needs one at a time. Each term
// has its own. Set all fields before Run.
type Orderer struct {
	Rules  Rules
	Email  string // That the authority is to know.
	Stored Stored
	Issuer Issuer
	Sealer Sealer

	Claims func() map[string]string // The service that claims each domain.
	Folder func(domain string) bool // Whether the operator's folder has a certificate for it.
	News   <-chan struct{}          // Has room for one: claims or certificates may have changed.
	Tell   func(service string)     // Is told of each service with a domain that has changed.

	Log     hclog.Logger
	Metrics *Metrics

	domains atomic.Pointer[map[string]wadi.Domain] // Of the last plan.
}

const (
	storeTimeout = 10 * time.Second // Of one pass's reading, and of a write.
	// lookAgain is how often a plan is made without news: the folder may have changed.
	lookAgain = 5 * time.Minute
	// settle is how long news are gathered: many domains may be claimed at once.
	settle = 200 * time.Millisecond
)

// Domain is a claimed domain as the last plan saw it. known is false before the first plan
// of this term, and for others.
func (o *Orderer) Domain(name string) (d wadi.Domain, known bool) {
	if all := o.domains.Load(); all != nil {
		d, known = (*all)[name]
	}
	return d, known
}

// Run orders until ctx ends. A failed pass is reported here and nowhere else.
func (o *Orderer) Run(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = time.Second, time.Minute
	for ctx.Err() == nil {
		wait, err := o.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			o.Log.Warn("certificates are not looked after, trying on", "error", err)
			wait = pause.NextBackOff()
		default:
			pause.Reset()
		}
		if wait == 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		case <-o.News:
			_ = wadi.Sleep(ctx, settle)
		}
	}
	return nil
}

// pass makes a plan and carries it out. It returns how long to wait for the next one.
func (o *Orderer) pass(ctx context.Context) (wait time.Duration, err error) {
	known, err := Look(ctx, o.Stored, o.Sealer, o.Claims(), o.Folder)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	p := MakePlan(o.Rules, known, now)
	o.publish(p.Domain)
	if err := o.keepHouse(ctx, p); err != nil {
		return 0, err
	}
	if p.Order != "" {
		return 0, o.order(ctx, p.Order, known)
	}
	wait = lookAgain
	if !p.Wait.IsZero() {
		wait = min(wait, max(time.Until(p.Wait), time.Second))
	}
	return wait, nil
}

// Reader reads what is stored of all domains.
type Reader interface {
	Issued(ctx context.Context) (map[string]store.Issued, error)
}

// Look reads what plans are made of.
func Look(ctx context.Context, from Reader, sealer Sealer, claims map[string]string, folder func(domain string) bool) (Known, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	k := Known{Claims: claims, Folder: map[string]bool{}}
	var err error
	if k.Stored, err = from.Issued(ctx); err != nil {
		return k, err
	}
	for name := range claims {
		k.Folder[name] = folder(name)
	}
	// A key that this agent can't use is another's: a new certificate would take its place.
	for name, i := range k.Stored {
		if _, err := sealer.open(keyName(name), i.Certificate.Key); err != nil && i.Unreadable == "" {
			i.Unreadable = err.Error()
			k.Stored[name] = i
		}
	}
	return k, nil
}

// publish makes the domains known, and tells the services whose domains are not as before.
func (o *Orderer) publish(now map[string]wadi.Domain) {
	before := o.domains.Swap(&now)
	changed := map[string]bool{}
	for name, d := range now {
		if before == nil || (*before)[name] != d {
			changed[d.Service] = true
		}
	}
	for service := range maps.Keys(changed) {
		o.Tell(service)
	}
	o.Metrics.set(now)
}

// keepHouse notes which domains nobody claims, and forgets those of long ago.
func (o *Orderer) keepHouse(ctx context.Context, p Plan) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for _, m := range p.Mark {
		if err := o.Stored.PutOrder(ctx, m); err != nil {
			return err
		}
	}
	for _, name := range p.Forget {
		if err := o.Stored.ForgetDomain(ctx, name); err != nil {
			return err
		}
		o.Log.Info("certificate forgotten: no service claims its domain", "domain", name)
	}
	return nil
}

// order makes one attempt to get the certificate of a domain. Its failure is stored, and is
// no error; an error is about what is stored.
func (o *Orderer) order(ctx context.Context, domain string, k Known) error {
	before := k.Stored[domain]
	rec := before.Order
	rec.Domain = domain
	challenge := o.Rules.Challenges[rec.Failures%len(o.Rules.Challenges)]
	rec = Begin(rec, time.Now())
	if err := o.write(ctx, func(ctx context.Context) error { return o.Stored.PutOrder(ctx, rec) }); err != nil {
		return err // Nothing is ordered that a new leader would not know of.
	}
	o.Log.Info("ordering a certificate", "domain", domain, "service", k.Claims[domain], "challenge", challenge)
	cert, err := o.attempt(ctx, domain, challenge, before.Certificate)
	if err == nil {
		rec = Succeed(rec)
		if err = o.write(context.WithoutCancel(ctx), func(ctx context.Context) error { return o.Stored.PutCertificate(ctx, cert, rec) }); err != nil {
			return fmt.Errorf("keep the certificate of %s: %w", domain, err)
		}
		o.Metrics.ordered("issued")
		o.Log.Info("certificate issued", "domain", domain, "not_after", cert.NotAfter)
		return nil
	}
	var kept storeError
	switch {
	case ctx.Err() != nil: // The term ends. The next leader begins anew, at once if it learns that this is over.
		rec.Began = time.Time{}
	case errors.As(err, &kept):
		return err // Began stays: the next attempt is not before this one is surely over.
	default:
		f := failureOf(err, o.Issuer.RetryAfter())
		rec = Fail(rec, f, time.Now())
		o.Metrics.ordered("failed")
		o.Log.Warn("no certificate", "domain", domain, "challenge", challenge, "reason", f.Reason, "error", f.Text, "next_try", rec.NextTry)
	}
	return o.write(context.WithoutCancel(ctx), func(ctx context.Context) error { return o.Stored.PutOrder(ctx, rec) })
}

// storeError is an error of what is stored, in an attempt.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

// writeTries is how often a write is tried: a certificate that is issued and not kept counts
// against the authority's bounds.
const writeTries = 3

func (o *Orderer) write(ctx context.Context, write func(context.Context) error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		err := write(ctx)
		if errors.Is(err, wadi.ErrNotLeading) || errors.Is(err, wadi.ErrOwnRight) || errors.Is(err, wadi.ErrTooLarge) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxTries(writeTries))
	return err
}

// attempt gets a certificate, or the reason why not.
func (o *Orderer) attempt(ctx context.Context, domain, challenge string, old store.Certificate) (store.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	accountKey, location, err := o.account(ctx)
	if err != nil {
		return store.Certificate{}, err
	}
	key, err := newKey()
	if err != nil {
		return store.Certificate{}, err
	}
	ask := Ask{Domain: domain, Challenge: challenge, Key: key, AccountKey: accountKey, Account: location, Replaces: o.replaced(old)}
	defer func() {
		_ = o.write(context.WithoutCancel(ctx), func(ctx context.Context) error { return o.Stored.DeleteChallenge(ctx, domain) }) // It expires.
	}()
	present := func(ctx context.Context, token, answer string) error {
		c := store.Challenge{Domain: domain, Type: challenge, Token: token, Answer: answer, Expires: time.Now().Add(orderGone)}
		if err := o.Stored.PutChallenge(ctx, c); err != nil {
			return storeError{err}
		}
		return nil
	}
	chain, err := o.Issuer.Obtain(ctx, ask, present)
	if noAccount(err) { // The authority has lost it.
		if ask.AccountKey, ask.Account, err = o.newAccount(ctx); err == nil {
			chain, err = o.Issuer.Obtain(ctx, ask, present)
		}
	}
	if err != nil {
		return store.Certificate{}, err
	}
	leaf, err := parseLeaf(chain)
	if err != nil {
		return store.Certificate{}, err
	}
	text, err := keyPEM(key)
	if err != nil {
		return store.Certificate{}, err
	}
	return store.Certificate{
		Domain: domain, Directory: o.Rules.Directory, Chain: string(chain), Key: o.Sealer.seal(keyName(domain), text),
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
	}, nil
}

// replaced is the certificate that an order renews; nil: it renews none.
func (o *Orderer) replaced(old store.Certificate) *x509.Certificate {
	if old.Directory != o.Rules.Directory {
		return nil
	}
	leaf, err := parseLeaf([]byte(old.Chain))
	if err != nil {
		return nil
	}
	return leaf
}

// account returns the account at the authority, and makes it if there is none.
func (o *Orderer) account(ctx context.Context) (*ecdsa.PrivateKey, string, error) {
	a, err := o.Stored.Account(ctx, o.Rules.Directory)
	if errors.Is(err, wadi.ErrNotFound) {
		return o.newAccount(ctx)
	}
	if err != nil {
		return nil, "", storeError{err}
	}
	text, err := o.Sealer.open(accountKeyName(a.Directory), a.Key)
	if err != nil {
		return nil, "", authorityError{"the account at the authority: " + err.Error()}
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, "", authorityError{"the account at the authority: " + err.Error()}
	}
	if a.Email == o.Email {
		return key, a.Location, nil
	}
	err = o.Issuer.Update(ctx, key, a.Location)
	if noAccount(err) {
		return o.newAccount(ctx)
	}
	if err != nil {
		return nil, "", fmt.Errorf("tell the authority the address of mail: %w", err)
	}
	a.Email = o.Email
	if err := o.Stored.PutAccount(ctx, a); err != nil {
		return nil, "", storeError{err}
	}
	return key, a.Location, nil
}

// noAccount reports whether the authority does not know the account.
func noAccount(err error) bool {
	var p acme.Problem
	return errors.As(err, &p) && p.Type == acme.ProblemTypeAccountDoesNotExist
}

func (o *Orderer) newAccount(ctx context.Context) (*ecdsa.PrivateKey, string, error) {
	key, err := newKey()
	if err != nil {
		return nil, "", err
	}
	text, err := keyPEM(key)
	if err != nil {
		return nil, "", err
	}
	location, err := o.Issuer.Register(ctx, key)
	if err != nil {
		return nil, "", err
	}
	a := store.Account{
		Directory: o.Rules.Directory, Email: o.Email, Location: location,
		Key: o.Sealer.seal(accountKeyName(o.Rules.Directory), text),
	}
	if err := o.Stored.PutAccount(ctx, a); err != nil {
		return nil, "", storeError{err}
	}
	o.Log.Info("account made at the certificate authority", "directory", o.Rules.Directory)
	return key, location, nil
}

// keyName and accountKeyName are what keys are sealed under.
func keyName(domain string) string           { return "certificate/" + domain }
func accountKeyName(directory string) string { return "account/" + directory }
