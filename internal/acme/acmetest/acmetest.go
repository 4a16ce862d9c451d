// Package acmetest has a real certificate authority for tests: Pebble, Let's Encrypt's own
// for that purpose, in this process, with a DNS server that says what the test wants.
package acmetest

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/wadi-run/wadi/internal/apitls/certtest"
	"github.com/wadi-run/wadi/internal/freeport"
)

// Options are those of an Authority.
type Options struct {
	HTTPPort, TLSPort int           // At which it checks domains.
	Validity          time.Duration // Of certificates; default: 90 days.
	EABKeys           map[string]string
	Blocked           []string // Domains that it refuses.
}

// Authority is a running Pebble.
type Authority struct {
	Directory string
	CAFile    string
	DNS       *challtestsrv.ChallSrv

	address string
	files   [2]string // Certificate and key of its own API.
	opts    Options
	dns     string

	mu     sync.Mutex
	server *http.Server
	orders map[string]int      // By domain.
	refuse map[string]*refusal // By domain.
	roots  *x509.CertPool
}

type refusal struct {
	status int
	header http.Header
	body   string
}

// Start starts an authority that ends with the test.
func Start(tb testing.TB, o Options) *Authority {
	tb.Helper()
	a, err := New(tb.TempDir(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(a.Close)
	return a
}

// New is Start outside a test. It keeps its files in dir.
func New(dir string, o Options) (*Authority, error) {
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	ports, err := freeport.Ports(2)
	if err != nil {
		return nil, err
	}
	signer, err := certtest.Make()
	if err != nil {
		return nil, err
	}
	files, err := signer.Write(dir, 1, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	a := &Authority{
		address: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), dns: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1])),
		CAFile: files.CA, files: [2]string{files.Cert, files.Key}, opts: o, orders: map[string]int{}, refuse: map[string]*refusal{},
		roots: x509.NewCertPool(),
	}
	a.Directory = "https://" + a.address + wfe.DirectoryPath
	a.DNS, err = challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{a.dns}, Log: log.New(io.Discard, "", 0)})
	if err != nil {
		return nil, err
	}
	a.DNS.SetDefaultDNSIPv6("")
	a.DNS.Run()
	if err := a.Begin(); err != nil {
		a.DNS.Shutdown()
		return nil, err
	}
	return a, nil
}

// Close ends it for good.
func (a *Authority) Close() {
	a.End()
	a.DNS.Shutdown()
}

// SetValidity has certificates of the next Begin expire so soon after they are issued.
func (a *Authority) SetValidity(d time.Duration) { a.opts.Validity = d }

// Begin starts it again after End. It has forgotten all accounts and orders.
func (a *Authority) Begin() error {
	none := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	for _, name := range a.opts.Blocked {
		if err := store.AddBlockedDomain(name); err != nil {
			return err
		}
	}
	for id, key := range a.opts.EABKeys {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			return err
		}
	}
	validity := a.opts.Validity
	if validity == 0 {
		validity = 90 * 24 * time.Hour
	}
	issuer := ca.New(none, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: uint64(validity / time.Second)}})
	checks := va.New(none, a.opts.HTTPPort, a.opts.TLSPort, false, a.dns, store)
	front := wfe.New(none, store, checks, issuer, []string{"pebble.letsencrypt.org"}, false, len(a.opts.EABKeys) > 0, 1, 1)
	ln, err := net.Listen("tcp", a.address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: a.count(front.Handler()), ReadHeaderTimeout: 10 * time.Second, ErrorLog: none}
	a.mu.Lock()
	a.server = server
	a.roots.AddCert(issuer.GetRootCert(0).Cert)
	a.mu.Unlock()
	go func() {
		if err := server.ServeTLS(ln, a.files[0], a.files[1]); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return nil
}

// End stops it: nobody answers at its address.
func (a *Authority) End() {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.server.Close() // It is only a test's.
}

// Refuse has every order of a domain refused with a problem of ACME; status 0 ends that.
func (a *Authority) Refuse(domain string, status int, kind, detail string, retryAfter time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delete(a.refuse, domain); status == 0 {
		return
	}
	body, _ := json.Marshal(map[string]any{"type": "urn:ietf:params:acme:error:" + kind, "detail": detail, "status": status}) // It does not fail.
	r := &refusal{status, http.Header{"Content-Type": {"application/problem+json"}}, string(body)}
	if retryAfter > 0 {
		r.header.Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
	}
	a.refuse[domain] = r
}

// Orders is how often a domain was ordered; "": all of them.
func (a *Authority) Orders(domain string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if domain != "" {
		return a.orders[domain]
	}
	for _, each := range a.orders {
		n += each
	}
	return n
}

// Roots trust all that it has issued.
func (a *Authority) Roots() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.roots.Clone()
}

// count counts the orders of each domain, before Pebble sees them. Those with a nonce that
// Pebble refuses at random, as clients have to bear, count as one with their repetition.
func (a *Authority) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/order-plz" {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		domains := domainsOf(body)
		if refuse := a.refusalOf(domains); refuse != nil {
			w.Header().Set("Replay-Nonce", "none")
			for k := range refuse.header {
				w.Header().Set(k, refuse.header.Get(k))
			}
			w.WriteHeader(refuse.status)
			_, _ = io.WriteString(w, refuse.body)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen := &status{ResponseWriter: w}
		next.ServeHTTP(seen, r)
		if seen.code != http.StatusCreated {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, domain := range domains {
			a.orders[domain]++
		}
	})
}

func (a *Authority) refusalOf(domains []string) *refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, domain := range domains {
		if r := a.refuse[domain]; r != nil {
			return r
		}
	}
	return nil
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// domainsOf reads the domains in an order.
func domainsOf(body []byte) (out []string) {
	var signed struct{ Payload string }
	var order struct{ Identifiers []struct{ Value string } }
	if json.Unmarshal(body, &signed) != nil {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil || json.Unmarshal(payload, &order) != nil {
		return nil
	}
	for _, i := range order.Identifiers {
		out = append(out, i.Value)
	}
	return out
}
