package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/wadi-run/wadi/internal/certfile"
)

const (
	requestTimeout = 30 * time.Second // Of one request to the authority.
	maxAnswer      = 1 << 20          // Bytes of one answer of it.
	pollInterval   = time.Second      // Unless the authority asks for another.
)

// AuthorityConfig is how to reach an authority.
type AuthorityConfig struct {
	Directory string
	CAFile    string // Who signs the directory's own certificate; empty: the system's authorities.
	Email     string
	Version   string // Of this build, for the authority's log.

	EABKeyID      string // Of an account that the authority knows otherwise; empty: none is needed.
	EABMACKeyFile string
}

// Authority speaks ACME with a certificate authority.
type Authority struct {
	cfg    AuthorityConfig
	macKey string
	http   *http.Client
	asked  *retryAfter
}

// NewAuthority reads the files that cfg names.
func NewAuthority(cfg AuthorityConfig) (*Authority, error) {
	a := &Authority{cfg: cfg}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.IdleConnTimeout = time.Minute
	if cfg.CAFile != "" {
		text, err := certfile.Read(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("gateway.tls.acme.ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("gateway.tls.acme.ca_file: %s: it holds no certificate in PEM", cfg.CAFile)
		}
	}
	if cfg.EABMACKeyFile != "" {
		text, err := certfile.Read(cfg.EABMACKeyFile)
		if err != nil {
			return nil, fmt.Errorf("gateway.tls.acme.eab_mac_key_file: %w", err)
		}
		a.macKey = strings.TrimRight(strings.TrimSpace(string(text)), "=")
	}
	a.asked = &retryAfter{next: t}
	a.http = &http.Client{Transport: a.asked, Timeout: requestTimeout, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Scheme != "https" || len(via) > 3 {
			return errors.New("the authority redirects too far, or to plain HTTP")
		}
		return nil
	}}
	return a, nil
}

// retryAfter bounds the authority's answers, and remembers when it wants to be asked again.
type retryAfter struct {
	next http.RoundTripper
	wait atomic.Int64 // Of the last error, in nanoseconds; 0: it did not say.
}

func (t *retryAfter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	if resp.StatusCode >= 400 {
		t.wait.Store(int64(parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())))
	}
	return resp, nil
}

// parseRetryAfter reads the header Retry-After (RFC 9110, 10.2.3); 0: it says nothing.
func parseRetryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(min(n, 7*24*3600)) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// client is a client for one attempt.
func (a *Authority) client() *acme.Client {
	return &acme.Client{
		Directory: a.cfg.Directory, HTTPClient: a.http, UserAgent: "wadi/" + a.cfg.Version,
		PollInterval: pollInterval, PollTimeout: orderTimeout,
	}
}

// Register makes an account, or finds the one that has this key.
func (a *Authority) Register(ctx context.Context, key *ecdsa.PrivateKey) (location string, err error) {
	c := a.client()
	account := acme.Account{TermsOfServiceAgreed: true, PrivateKey: key, Contact: a.contact()}
	if a.cfg.EABKeyID != "" {
		if err := account.SetExternalAccountBinding(ctx, c, acme.EAB{KeyID: a.cfg.EABKeyID, MACKey: a.macKey}); err != nil {
			return "", fmt.Errorf("bind the account to %s: %w", a.cfg.EABKeyID, err)
		}
	}
	account, err = c.NewAccount(ctx, account)
	if err != nil {
		return "", fmt.Errorf("make an account: %w", err)
	}
	if account.Location == "" {
		return "", authorityError{"the authority has made an account and does not say where"}
	}
	return account.Location, nil
}

// Update tells the authority the present address of mail.
func (a *Authority) Update(ctx context.Context, key *ecdsa.PrivateKey, location string) error {
	account := acme.Account{Status: acme.StatusValid, PrivateKey: key, Location: location, Contact: a.contact()}
	_, err := a.client().UpdateAccount(ctx, account)
	return err
}

func (a *Authority) contact() []string {
	if a.cfg.Email == "" {
		return nil
	}
	return []string{"mailto:" + a.cfg.Email}
}

// Ask is one order.
type Ask struct {
	Domain     string
	Challenge  string // HTTP or TLSALPN.
	Key        *ecdsa.PrivateKey
	AccountKey *ecdsa.PrivateKey
	Account    string            // Its location.
	Replaces   *x509.Certificate // The one that is renewed; nil: none is.
}

// Obtain orders a certificate. present makes the answer known that the authority will ask
// for. The chain is in PEM, checked to be for the domain and the key.
func (a *Authority) Obtain(ctx context.Context, ask Ask, present func(ctx context.Context, token, answer string) error) (chain []byte, err error) {
	a.asked.wait.Store(0)
	c := a.client()
	account := acme.Account{Status: acme.StatusValid, PrivateKey: ask.AccountKey, Location: ask.Account}
	order, err := a.order(ctx, c, account, ask)
	if err != nil {
		return nil, err
	}
	if len(order.Authorizations) != 1 {
		return nil, authorityError{fmt.Sprintf("the authority wants %d proofs for one domain", len(order.Authorizations))}
	}
	if err := a.prove(ctx, c, account, order.Authorizations[0], ask, present); err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{ask.Domain}}, ask.Key)
	if err != nil {
		return nil, fmt.Errorf("make a request for %s: %w", ask.Domain, err)
	}
	if order, err = c.FinalizeOrder(ctx, account, order, request); err != nil {
		return nil, fmt.Errorf("finish the order: %w", err)
	}
	chains, err := c.GetCertificateChain(ctx, account, order.Certificate)
	if err != nil {
		return nil, fmt.Errorf("fetch the certificate: %w", err)
	}
	if len(chains) == 0 {
		return nil, authorityError{"the authority has issued a certificate and does not give it"}
	}
	return chains[0].ChainPEM, check(chains[0].ChainPEM, ask, time.Now())
}

// order makes the order. A renewal names the certificate that it replaces (RFC 9773, section
// 5): Let's Encrypt then counts it against no bound.
func (a *Authority) order(ctx context.Context, c *acme.Client, account acme.Account, ask Ask) (acme.Order, error) {
	wanted := acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: ask.Domain}}}
	if ask.Replaces != nil {
		if dir, err := c.GetDirectory(ctx); err == nil && dir.RenewalInfo != "" {
			wanted.Replaces, _ = acme.ARIUniqueIdentifier(ask.Replaces) // Without it the order counts; it goes on.
		}
	}
	order, err := c.NewOrder(ctx, account, wanted)
	var p acme.Problem
	if wanted.Replaces != "" && errors.As(err, &p) && p.Type != acme.ProblemTypeRateLimited {
		wanted.Replaces = "" // It was replaced by an order whose certificate was lost.
		order, err = c.NewOrder(ctx, account, wanted)
	}
	if err != nil {
		return order, fmt.Errorf("order: %w", err)
	}
	return order, nil
}

// prove has the authority check the domain.
func (a *Authority) prove(ctx context.Context, c *acme.Client, account acme.Account, url string, ask Ask, present func(ctx context.Context, token, answer string) error) (err error) {
	authz, err := c.GetAuthorization(ctx, account, url)
	if err != nil {
		return fmt.Errorf("read what is to be proven: %w", err)
	}
	if authz.Status == acme.StatusValid {
		return nil // It was proven lately.
	}
	i := slices.IndexFunc(authz.Challenges, func(c acme.Challenge) bool { return c.Type == ask.Challenge })
	if i < 0 {
		var offered []string
		for _, c := range authz.Challenges {
			offered = append(offered, c.Type)
		}
		return authorityError{fmt.Sprintf("the authority does not offer %s but %s", ask.Challenge, strings.Join(offered, ", "))}
	}
	defer func() {
		if err != nil && ctx.Err() != nil { // Else it is over, for good or bad: what is pending counts against a bound.
			bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, _ = c.DeactivateAuthorization(bound, account, url) // It also ends by itself.
		}
	}()
	challenge := authz.Challenges[i]
	if err := present(ctx, challenge.Token, challenge.KeyAuthorization); err != nil {
		return err
	}
	if _, err := c.InitiateChallenge(ctx, account, challenge); err != nil {
		return fmt.Errorf("begin the check: %w", err)
	}
	authz.Status = "" // It is read first.
	if _, err := c.PollAuthorization(ctx, account, authz); err != nil {
		return fmt.Errorf("check %s by %s: %w", ask.Domain, ask.Challenge, err)
	}
	return nil
}

// check says what is wrong with an issued chain.
func check(chain []byte, ask Ask, now time.Time) error {
	if len(chain) > maxChain {
		return authorityError{fmt.Sprintf("the certificate has %d KiB with its chain, at most %d are kept", len(chain)>>10, maxChain>>10)}
	}
	leaf, err := parseLeaf(chain)
	if err != nil {
		return authorityError{"the issued certificate can't be read: " + err.Error()}
	}
	public, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	switch {
	case leaf.VerifyHostname(ask.Domain) != nil:
		return authorityError{"the issued certificate is not for " + ask.Domain}
	case !ok || !public.Equal(ask.Key.Public()):
		return authorityError{"the issued certificate is for another key"}
	case !leaf.NotAfter.After(now):
		return authorityError{"the issued certificate has expired"}
	}
	return nil
}

// RetryAfter is how long the authority wants to be left alone, as it said in the last
// error of the last attempt; 0: it did not.
func (a *Authority) RetryAfter() time.Duration { return time.Duration(a.asked.wait.Load()) }
