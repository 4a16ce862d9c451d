//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

const shopHost = "shop.example.test"

// authority signs the gateway's certificates in this test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	harnesstest.Must(t, "make a key", err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	harnesstest.Must(t, "sign", err)
	a := &authority{key: key, pool: x509.NewCertPool()}
	a.cert, err = x509.ParseCertificate(der)
	harnesstest.Must(t, "parse", err)
	a.pool.AddCert(a.cert)
	return a
}

// put writes a certificate for hosts as NAME.pem and NAME.key, each by renaming a file
// over the old one.
func (a *authority) put(t *testing.T, dir, name string, serial int64, hosts ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	harnesstest.Must(t, "make a key", err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: hosts, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	harnesstest.Must(t, "sign", err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	harnesstest.Must(t, "encode the key", err)
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		tmp := filepath.Join(dir, "tmp")
		harnesstest.Must(t, "write", os.WriteFile(tmp, pem.EncodeToMemory(block), 0o600))
		harnesstest.Must(t, "rename", os.Rename(tmp, filepath.Join(dir, name+file)))
	}
}

// mappedPort is the advertised port of the TLS listener; the tests' dialers act as its
// port mapping.
const mappedPort = "9443"

// secure is an agent with a TLS listener.
type secure struct {
	*harness.Agent
	*authority
	dir  string // Of certificates.
	addr string // Of the listener.
}

// startSecure runs another agent, beside the leader.
func startSecure(t *testing.T) *secure {
	t.Helper()
	s := &secure{authority: newAuthority(t), dir: t.TempDir()}
	s.put(t, s.dir, "shop", 100, shopHost)
	s.put(t, s.dir, "wild", 200, "*."+harness.Domain)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harnesstest.Must(t, "choose a port", err)
	s.addr = l.Addr().String()
	harnesstest.Must(t, "free it", l.Close())
	s.Agent, err = stack.NewAgent("wadi-tls", fmt.Sprintf("gateway {\n  tls {\n    address     = %q\n    public_port = %s\n    cert_dir    = %q\n    redirect    = true\n  }\n}\n", s.addr, mappedPort, s.dir))
	harnesstest.Must(t, "configure an agent", err)
	harnesstest.Must(t, "start an agent", s.Start(t.Context()))
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(s.Tail(40))
		}
	})
	harnesstest.Must(t, "wait for it", s.WaitLeader(t.Context()))
	return s
}

// client verifies certificates, and finds every host at the agent's two listeners.
func (s *secure) client(t *testing.T, h2, keep bool) *http.Client {
	_, plainPort, _ := net.SplitHostPort(s.Gateway)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.pool}, ForceAttemptHTTP2: h2, DisableKeepAlives: !keep, MaxIdleConnsPerHost: 16,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			if to := s.addr; port != plainPort {
				return (&net.Dialer{}).DialContext(ctx, network, to)
			}
			return (&net.Dialer{}).DialContext(ctx, network, s.Gateway)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// serial is the serial number of the certificate on a new connection.
func (s *secure) serial(t *testing.T, name string) (int64, error) {
	t.Helper()
	c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: s.pool, ServerName: name}}).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func (s *secure) waitSerial(t *testing.T, name string, want int64) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		got, err := s.serial(t, name)
		if err == nil && got != want {
			err = fmt.Errorf("%s shows certificate %d, want %d", name, got, want)
		}
		return err
	})
}

// askHTTPS sends one request over TLS and returns the answer.
func askHTTPS(t *testing.T, c *http.Client, method, url, host string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	harnesstest.Must(t, "make a request", err)
	req.Host = host
	res, err := c.Do(req)
	harnesstest.Must(t, method+" "+url, err)
	defer res.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	harnesstest.Must(t, "read the answer", err)
	return res, b.String()
}

func TestServing_TLS(t *testing.T) {
	s := startSecure(t)
	stack.Deploy(t, hello("shop", options{min: 1, window: "60s", service: fmt.Sprintf("domains = [%q]", shopHost)}))
	url := "https://" + shopHost + ":" + mappedPort + "/"
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // Its routes come through Consul.
		_, err := harnesstest.Getting(s.client(t, false, false), url)(t.Context())
		return err
	})
	self, err := s.Client.Self(t.Context())
	if err != nil || self.GatewayTLS != s.addr {
		t.Errorf("self says %q, %v; want %s", self.GatewayTLS, err, s.addr)
	}
	t.Run("protocols", func(t *testing.T) { s.testProtocols(t, url) })
	t.Run("redirect", func(t *testing.T) { s.testRedirect(t, url) })
	t.Run("replaced under load", func(t *testing.T) { s.testReplaced(t, url) })
	t.Run("broken", func(t *testing.T) { s.testBroken(t) })
}

func (s *secure) testProtocols(t *testing.T, url string) {
	for _, h2 := range []bool{false, true} {
		res, body := askHTTPS(t, s.client(t, h2, false), http.MethodGet, url, "")
		if want := map[bool]int{false: 1, true: 2}[h2]; res.StatusCode != 200 || res.ProtoMajor != want {
			t.Errorf("got %s over %s: %s", res.Status, res.Proto, body)
		}
	}
	// With its own name, and the wildcard certificate.
	if res, body := askHTTPS(t, s.client(t, true, false), http.MethodGet, "https://shop."+harness.Domain+":"+mappedPort+"/", ""); res.StatusCode != 200 {
		t.Errorf("by its name: got %s %s", res.Status, body)
	}
	// A host that the connection's certificate does not cover.
	if res, body := askHTTPS(t, s.client(t, true, false), http.MethodGet, url, "shop."+harness.Domain); res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("of another certificate: got %s %s, want 421", res.Status, body)
	}
	if got, err := s.serial(t, "nobody.example.test"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("for an unknown name: got certificate %d, %v", got, err)
	}
}

func (s *secure) testRedirect(t *testing.T, url string) {
	plain := s.URL("/a?b=c")
	c := s.client(t, false, false)
	res, _ := askHTTPS(t, c, http.MethodPost, plain, shopHost)
	if got := res.Header.Get("Location"); res.StatusCode != http.StatusPermanentRedirect || got != url+"a?b=c" {
		t.Errorf("got %s to %q, want 308 to %sa?b=c", res.Status, got, url)
	}
	if res, _ := askHTTPS(t, c, http.MethodGet, plain, "nobody.example.test"); res.StatusCode != 404 {
		t.Errorf("of an unknown host: got %s", res.Status)
	}
	c.CheckRedirect = nil
	if res, body := askHTTPS(t, c, http.MethodGet, plain, shopHost); res.StatusCode != 200 || res.Request.URL.Scheme != "https" {
		t.Errorf("followed: got %s from %s: %s", res.Status, res.Request.URL, body)
	}
}

// Certificates are replaced while requests come on old and on new connections.
func (s *secure) testReplaced(t *testing.T, url string) {
	var loads []*harnesstest.Load
	for _, h2 := range []bool{false, true} {
		for _, keep := range []bool{false, true} {
			loads = append(loads, harnesstest.StartWorkers(t, 2, 20*time.Millisecond, harnesstest.Getting(s.client(t, h2, keep), url)))
		}
	}
	for serial := int64(101); serial < 104; serial++ {
		s.put(t, s.dir, "shop", serial, shopHost)
		s.waitSerial(t, shopHost, serial)
	}
	for _, l := range loads {
		l.Stop()
		l.WantAll(t, 5)
	}
}

// A pair that does not match is reported, and the previous one stays in force.
func (s *secure) testBroken(t *testing.T) {
	before, err := s.serial(t, shopHost)
	harnesstest.Must(t, "ask", err)
	key := filepath.Join(s.dir, "shop.key")
	old, err := os.ReadFile(key)
	harnesstest.Must(t, "read the key", err)
	other := newAuthority(t)
	other.put(t, s.dir, "other", 1, "other.example.test")
	harnesstest.Must(t, "break it", os.Rename(filepath.Join(s.dir, "other.key"), key))
	harnesstest.Must(t, "remove the rest", os.Remove(filepath.Join(s.dir, "other.pem")))
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		ran, err := s.Wadi(t.Context(), t.TempDir(), "doctor")
		if err == nil && (ran.Code != 1 || !strings.Contains(ran.Stdout, "certificate shop") || !strings.Contains(ran.Stdout, "private key does not match")) {
			err = fmt.Errorf("the doctor says nothing of it: %v", ran)
		}
		return err
	})
	if got, err := s.serial(t, shopHost); err != nil || got != before {
		t.Errorf("got certificate %d, %v; want %d as before", got, err, before)
	}
	if log := s.Tail(2000); !strings.Contains(log, "certificate not loaded") || strings.Contains(log, "PRIVATE KEY") {
		t.Error("the log does not tell, or tells too much")
	}
	harnesstest.Must(t, "mend it", os.WriteFile(key, old, 0o600))
	s.put(t, s.dir, "shop", 110, shopHost)
	s.waitSerial(t, shopHost, 110)
	// The other agent reports this one too, and no problem any more.
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "doctor")
		if err == nil && (strings.Contains(ran.Stdout, "certificate shop") || !strings.Contains(ran.Stdout, "wadi-tls: gateway certificates   2 are good")) {
			err = fmt.Errorf("the doctor says %v", ran)
		}
		return err
	})
}

// A domain belongs to one service until that is gone.
func TestServing_OneDomainOneService(t *testing.T) {
	t.Parallel()
	const host = "one.example.test"
	with := func(name string) string {
		return hello(name, options{service: fmt.Sprintf("domains = [%q]", host)})
	}
	names := []string{"claimer-a", "claimer-b", "claimer-c", "claimer-d"}
	var mu sync.Mutex
	var winners []string
	var refusals []error
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			_, err := stack.Agent.Submit(t.Context(), with(name))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refusals = append(refusals, err)
				return
			}
			winners = append(winners, name)
		})
	}
	wg.Wait()
	if len(winners) != 1 {
		t.Fatalf("winners are %v, want one; refusals: %v", winners, refusals)
	}
	for _, err := range refusals {
		if !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), winners[0]) || !strings.Contains(err.Error(), "test.hcl:") {
			t.Errorf("the refusal does not name the domain, its holder and the line: %v", err)
		}
	}
	for _, name := range names {
		if _, err := stack.Agent.Client.Service(t.Context(), name); name != winners[0] && !errors.Is(err, wadi.ErrNotFound) {
			t.Errorf("the loser %s is stored: %v", name, err)
		}
	}
	harnesstest.Must(t, "delete the winner", stack.Agent.Delete(t.Context(), winners[0]))
	stack.Submit(t, with("claimer-e"))
}
