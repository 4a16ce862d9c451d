package acme_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/acme"
	"github.com/wadi-run/wadi/internal/store"
)

// kept is what is stored, in memory. It is a leader's and every agent's.
type kept struct {
	mu         sync.Mutex
	stored     map[string]store.Issued
	challenges map[string]store.Challenge
	accounts   map[string]store.Account
	fail       error // Of all writes.
	lookUps    int   // Of single challenges.
	changed    chan struct{}
	blind      bool // Watches tell nothing.
}

func newKept() *kept {
	return &kept{stored: map[string]store.Issued{}, challenges: map[string]store.Challenge{}, accounts: map[string]store.Account{}, changed: make(chan struct{})}
}

func (k *kept) write(fn func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	fn()
	close(k.changed)
	k.changed = make(chan struct{})
	return nil
}

func (k *kept) setFail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = err
}

func (k *kept) Issued(context.Context) (map[string]store.Issued, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]store.Issued{}
	for name, i := range k.stored {
		out[name] = i
	}
	return out, nil
}

func (k *kept) of(domain string) store.Issued {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stored[domain]
}

func (k *kept) Account(_ context.Context, directory string) (store.Account, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.accounts[directory]
	if !ok {
		return a, wadi.ErrNotFound
	}
	return a, nil
}

func (k *kept) PutAccount(_ context.Context, a store.Account) error {
	return k.write(func() { k.accounts[a.Directory] = a })
}

func (k *kept) PutOrder(_ context.Context, o store.Order) error {
	return k.write(func() {
		i := k.stored[o.Domain]
		i.Order = o
		k.stored[o.Domain] = i
	})
}

func (k *kept) PutCertificate(_ context.Context, c store.Certificate, o store.Order) error {
	return k.write(func() { k.stored[c.Domain] = store.Issued{Certificate: c, Order: o} })
}

func (k *kept) PutChallenge(_ context.Context, c store.Challenge) error {
	return k.write(func() { k.challenges[c.Domain] = c })
}

func (k *kept) DeleteChallenge(_ context.Context, domain string) error {
	return k.write(func() { delete(k.challenges, domain) })
}

func (k *kept) ForgetDomain(_ context.Context, domain string) error {
	return k.write(func() { delete(k.stored, domain) })
}

func (k *kept) Challenge(_ context.Context, domain string) (store.Challenge, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lookUps++
	c, ok := k.challenges[domain]
	if !ok {
		return c, wadi.ErrNotFound
	}
	return c, nil
}

// pending is the number of challenges.
func (k *kept) pending() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.challenges)
}

// watch calls fn now and after every change.
func (k *kept) watch(ctx context.Context, fn func()) error {
	for {
		k.mu.Lock()
		changed, blind := k.changed, k.blind
		k.mu.Unlock()
		if !blind {
			fn()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (k *kept) WatchCertificates(ctx context.Context, fn func(map[string]store.Certificate)) error {
	return k.watch(ctx, func() {
		out := map[string]store.Certificate{}
		all, _ := k.Issued(ctx)
		for name, i := range all {
			if i.Certificate.Domain != "" {
				out[name] = i.Certificate
			}
		}
		fn(out)
	})
}

func (k *kept) WatchChallenges(ctx context.Context, fn func(map[string]store.Challenge)) error {
	return k.watch(ctx, func() {
		k.mu.Lock()
		out := map[string]store.Challenge{}
		for name, c := range k.challenges {
			out[name] = c
		}
		k.mu.Unlock()
		fn(out)
	})
}

// authority issues certificates without asking, or fails.
type authority struct {
	mu       sync.Mutex
	err      error
	life     time.Duration
	hold     chan struct{} // Obtain waits for it; nil: it does not.
	asked    []acme.Ask
	at       []time.Time // Of asked.
	accounts int
}

func (a *authority) Register(context.Context, *ecdsa.PrivateKey) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accounts++
	return "https://ca/account", nil
}

func (a *authority) Update(context.Context, *ecdsa.PrivateKey, string) error { return nil }

func (a *authority) RetryAfter() time.Duration { return 0 }

func (a *authority) Obtain(ctx context.Context, ask acme.Ask, present func(context.Context, string, string) error) ([]byte, error) {
	a.mu.Lock()
	a.asked, a.at = append(a.asked, ask), append(a.at, time.Now())
	err, life, hold := a.err, a.life, a.hold
	a.mu.Unlock()
	if err := present(ctx, "token-of-twenty-two-letters", "answer"); err != nil {
		return nil, err
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return chainFor(ask, life)
}

func (a *authority) asks() []acme.Ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func (a *authority) times() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.at)
}

func (a *authority) registered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.accounts
}

// orders are the domains that were asked for, in order.
func (a *authority) orders() (out []string) {
	for _, ask := range a.asks() {
		out = append(out, ask.Domain)
	}
	return out
}

func (a *authority) set(fn func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fn()
}

// chainFor signs a certificate by its own key.
func chainFor(ask acme.Ask, life time.Duration) ([]byte, error) {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{ask.Domain},
		NotBefore: time.Now().Truncate(time.Second), NotAfter: time.Now().Add(life).Truncate(time.Second),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, ask.Key.Public(), ask.Key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// leader is an orderer with what it works on.
type leader struct {
	*acme.Orderer
	kept *kept
	ca   *authority
	news chan struct{}

	mu     sync.Mutex
	claims map[string]string
	told   map[string]int
}

func newLeader(k *kept, claims map[string]string) *leader {
	l := &leader{kept: k, ca: &authority{life: 90 * day}, news: make(chan struct{}, 1), claims: claims, told: map[string]int{}}
	l.Orderer = &acme.Orderer{
		Rules: rules, Stored: k, Issuer: l.ca, News: l.news, Log: hclog.NewNullLogger(),
		Claims: func() map[string]string { l.mu.Lock(); defer l.mu.Unlock(); return l.claims },
		Folder: func(string) bool { return false },
		Tell:   func(service string) { l.mu.Lock(); defer l.mu.Unlock(); l.told[service]++ },
	}
	return l
}

func (l *leader) tellings() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told["shop"]
}

// claim replaces the claims.
func (l *leader) claim(claims map[string]string) {
	l.mu.Lock()
	l.claims = claims
	l.mu.Unlock()
	l.news <- struct{}{}
}

// run runs the orderer until the returned function is called, or the test ends.
func (l *leader) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}
