package acme_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/acme"
	"github.com/wadi-run/wadi/internal/acme/acmetest"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// app answers in place of an instance.
type app struct{}

func (app) ServeRevision(w http.ResponseWriter, r *http.Request, _, _ string) {
	_, _ = io.WriteString(w, "app "+r.URL.Path)
}

// edge is a gateway with both listeners, and the authority that checks it.
type edge struct {
	kept   *kept
	holder *acme.Holder
	plain  net.Addr
	tls    net.Addr
	ca     *acmetest.Authority
}

func portOf(t *testing.T, a net.Addr) int { t.Helper(); return a.(*net.TCPAddr).Port }

// start runs an edge until the test ends.
func start(t *testing.T, o acmetest.Options, routes ...string) *edge {
	t.Helper()
	e := &edge{kept: newKept()}
	log := hclog.NewNullLogger()
	e.holder = acme.NewHolder(e.kept, acme.Sealer{}, func(domain string) bool { return strings.HasSuffix(domain, ".example.com") }, log, prometheus.NewRegistry())
	g, err := gateway.New(gateway.Config{Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: app{}, Registerer: prometheus.NewRegistry(), Domains: e.holder})
	if err != nil {
		t.Fatal(err)
	}
	g.SetRoutes(map[string]wadi.Route{"shop": {Service: "shop", Visibility: wadi.Public, Domains: routes,
		Targets: []wadi.RouteTarget{{Revision: "shop-00001", Weight: wadi.WeightAll}}}})
	certs, err := gateway.LoadCertificates("", e.holder, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var servers []*gateway.Server
	for _, cfg := range []gateway.ServerConfig{{Handler: g}, {Handler: g.OverTLS(certs), TLS: certs.TLSConfig()}} {
		cfg.Address, cfg.Log = "127.0.0.1:0", log
		s, err := gateway.NewServer(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	e.plain, e.tls = servers[0].Addr(), servers[1].Addr()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	for _, run := range []func(context.Context) error{servers[0].Run, servers[1].Run, e.holder.Run} {
		go func() { done <- run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	o.HTTPPort, o.TLSPort = portOf(t, e.plain), portOf(t, e.tls)
	e.ca = acmetest.Start(t, o)
	return e
}

// order has one domain ordered, and returns what is stored after the first attempt.
func (e *edge) order(t *testing.T, domain, challenge string, change func(*acme.AuthorityConfig)) store.Issued {
	t.Helper()
	cfg := acme.AuthorityConfig{Directory: e.ca.Directory, CAFile: e.ca.CAFile, Version: "test"}
	if change != nil {
		change(&cfg)
	}
	a, err := acme.NewAuthority(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := newLeader(e.kept, claimed(domain))
	l.Rules.Directory, l.Rules.Challenges, l.Email, l.Issuer = e.ca.Directory, []string{challenge}, cfg.Email, a
	stop := l.run(t)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		e.kept.mu.Lock()
		now, changed := e.kept.stored[domain], e.kept.changed
		e.kept.mu.Unlock()
		if now.Order.Began.IsZero() && (now.Certificate.Directory == e.ca.Directory || now.Order.Failures > 0) {
			return now
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("no attempt has ended")
		}
	}
}

// handshake returns the connection's state after a handshake for a name.
func (e *edge) handshake(ctx context.Context, name string, protocols ...string) (tls.ConnectionState, error) {
	d := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: e.ca.Roots(), NextProtos: protocols}}
	c, err := d.DialContext(ctx, "tcp", e.tls.String())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = c.Close() }() // It was only for the handshake.
	return c.(*tls.Conn).ConnectionState(), nil
}

// A real authority checks a domain by a request, and another by a handshake: both get a
// certificate that clients trust, by one order each.
func TestPebble_Challenges(t *testing.T) {
	e := start(t, acmetest.Options{}, "one.example.com", "two.example.com")
	for domain, challenge := range map[string]string{"one.example.com": acme.HTTP, "two.example.com": acme.TLSALPN} {
		got := e.order(t, domain, challenge, func(c *acme.AuthorityConfig) { c.Email = "ops@example.com" })
		if got.Order.Failures > 0 {
			t.Fatalf("%s by %s: %s: %s", domain, challenge, got.Order.Reason, got.Order.Error)
		}
		if _, err := e.handshake(t.Context(), domain, "h2"); err != nil {
			t.Errorf("%s: %v", domain, err)
		}
		if n := e.ca.Orders(domain); n != 1 {
			t.Errorf("%s was ordered %d times", domain, n)
		}
	}
	if n := e.kept.pending(); n != 0 {
		t.Errorf("%d challenges are left", n)
	}
	if _, err := e.handshake(t.Context(), "one.example.com", "acme-tls/1"); err == nil {
		t.Error("a handshake of an authority is answered, though none checks the domain")
	}
	for _, name := range []string{"other.example.com", "example.com", "two.example.com.evil.org"} {
		if _, err := e.handshake(t.Context(), name); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The app answers all requests below the path of challenges, but that of an authority that
// Wadi has ordered from: an app's own ACME client goes on working.
func TestPebble_AppsOwnChallenges(t *testing.T) {
	e := start(t, acmetest.Options{}, "one.example.com")
	own := store.Challenge{Domain: "one.example.com", Type: acme.HTTP, Token: token, Answer: token + ".x", Expires: time.Now().Add(time.Hour)}
	if err := e.kept.PutChallenge(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ method, host, path, want string }{
		{"GET", "one.example.com", "/.well-known/acme-challenge/" + token, own.Answer},
		{"GET", "ONE.example.com.", "/.well-known/acme-challenge/" + token, own.Answer},
		{"GET", "one.example.com", "/.well-known/acme-challenge/" + strings.Repeat("a", 43), "app /.well-known/acme-challenge/" + strings.Repeat("a", 43)},
		{"GET", "one.example.com", "/.well-known/acme-challenge/", "app /.well-known/acme-challenge/"},
		{"POST", "one.example.com", "/.well-known/acme-challenge/" + token, "app /.well-known/acme-challenge/" + token},
		{"GET", "shop.wadi.localhost", "/.well-known/acme-challenge/" + token, "app /.well-known/acme-challenge/" + token},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+e.plain.String()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // It is read.
		if err != nil || string(got) != tt.want || resp.StatusCode != http.StatusOK {
			t.Errorf("%s %s%s: %d %q, %v", tt.method, tt.host, tt.path, resp.StatusCode, got, err)
		}
	}
}

// What an authority says is why there is no certificate, in one word and in its own words.
func TestPebble_Failures(t *testing.T) {
	e := start(t, acmetest.Options{Blocked: []string{"bank.example.com"}}, "one.example.com")
	e.ca.DNS.AddDNSARecord("elsewhere.example.com", []string{"127.9.9.9"})
	for domain, want := range map[string]string{
		"elsewhere.example.com": wadi.DomainUnreachable,
		"bank.example.com":      wadi.DomainRejected,
	} {
		if got := e.order(t, domain, acme.HTTP, nil).Order; got.Reason != want || got.Error == "" || !got.NextTry.After(time.Now()) {
			t.Errorf("%s: %+v, want %s", domain, got, want)
		}
	}
	// The domain leads here, but nobody claims it: the gateway answers 404.
	if got := e.order(t, "example.org", acme.HTTP, nil).Order; got.Reason != wadi.DomainElsewhere {
		t.Errorf("%+v", got)
	}
	e.ca.Refuse("limited.example.com", 429, "rateLimited", "too many\x1b[31m orders", 3*time.Hour)
	if got := e.order(t, "limited.example.com", acme.HTTP, nil).Order; got.Reason != wadi.DomainLimited || time.Until(got.NextTry) < 2*time.Hour || strings.Contains(got.Error, "\x1b") {
		t.Errorf("%+v", got)
	}
	e.ca.End()
	if got := e.order(t, "away.example.com", acme.HTTP, nil).Order; got.Reason != wadi.DomainAway {
		t.Errorf("%+v", got)
	}
	if err := e.ca.Begin(); err != nil {
		t.Fatal(err)
	}
	// The authority has lost the account, too.
	if got := e.order(t, "one.example.com", acme.HTTP, nil); got.Order.Failures > 0 {
		t.Errorf("%+v", got.Order)
	}
	untrusted := func(c *acme.AuthorityConfig) { c.CAFile = "" }
	if got := e.order(t, "untrusted.example.com", acme.HTTP, untrusted).Order; got.Reason != wadi.DomainAway || !strings.Contains(got.Error, "certificate") {
		t.Errorf("%+v", got)
	}
}

// An authority that binds accounts to others gives certificates with the right key alone.
func TestPebble_ExternalAccount(t *testing.T) {
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	e := start(t, acmetest.Options{EABKeys: map[string]string{"kid-1": mac}}, "one.example.com", "two.example.com")
	if got := e.order(t, "one.example.com", acme.HTTP, nil).Order; got.Reason != wadi.DomainAccount {
		t.Errorf("without a key: %+v", got)
	}
	file := filepath.Join(t.TempDir(), "eab.key")
	for i, text := range []string{base64.RawURLEncoding.EncodeToString([]byte("another")), mac + "\n"} { // An account is made once.
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		domain, failures := []string{"two.example.com", "one.example.com"}[i], 1-i
		if err := e.kept.ForgetDomain(t.Context(), domain); err != nil {
			t.Fatal(err)
		}
		got := e.order(t, domain, acme.TLSALPN, func(c *acme.AuthorityConfig) { c.EABKeyID, c.EABMACKeyFile = "kid-1", file })
		if got.Order.Failures != failures {
			t.Errorf("%q: %+v", text, got.Order)
		}
	}
}
