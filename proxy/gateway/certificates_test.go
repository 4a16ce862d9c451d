package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-run/wadi/proxy/gateway"
)

func TestCertificates_ByName(t *testing.T) {
	dir := t.TempDir()
	issue(t, 1, time.Hour, "a.example.com", "*.apps.example.com").putPair(t, dir, "a")
	both := issue(t, 2, time.Hour, "hello.apps.example.com", "B.Example.COM")
	put(t, dir, "b.pem", both.key+both.cert) // Key and certificate in one file.
	crt := issue(t, 3, time.Hour, "c.example.com")
	put(t, dir, "c.crt", crt.cert)
	put(t, dir, "c.key", crt.key)
	put(t, dir, "README", "no certificate")
	put(t, dir, ".hidden.pem", "no certificate")
	c := loadCerts(t, dir)
	for name, want := range map[string]int64{
		"": 1, "a.example.com": 1, "A.EXAMPLE.com": 1, "x.apps.example.com": 1,
		"hello.apps.example.com": 2, "b.example.com": 2, "c.example.com": 3,
	} {
		shows(t, c, name, want)
	}
	for _, name := range []string{"ignored.example.com", "x.y.apps.example.com", "apps.example.com", "example.com"} {
		if got, err := handshake(t, c, &tls.Config{ServerName: name}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("for %q: got certificate %d, %v; want the alert unrecognized name", name, got, err)
		}
	}
}

// Of several certificates for a name, a valid and supported one that lasts longest answers.
func TestCertificates_BestOfAName(t *testing.T) {
	dir := t.TempDir()
	issue(t, 1, time.Hour, "a.example.com").putPair(t, dir, "a")
	issue(t, 2, 3*time.Hour, "a.example.com").putPair(t, dir, "b")
	issue(t, 3, 2*time.Hour, "a.example.com").putPair(t, dir, "c")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	future := x509.Certificate{SerialNumber: big.NewInt(4), DNSNames: []string{"a.example.com"},
		NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(99 * time.Hour)}
	issueWith(t, key, future).putPair(t, dir, "d")
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	issueWith(t, old, x509.Certificate{SerialNumber: big.NewInt(5), DNSNames: []string{"a.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Minute)}).putPair(t, dir, "e")
	c := loadCerts(t, dir)
	shows(t, c, "a.example.com", 2)
	onlyRSA := &tls.Config{ServerName: "a.example.com", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	if got, err := handshake(t, c, onlyRSA); err != nil || got != 5 {
		t.Errorf("to a client that knows RSA only: got certificate %d, %v", got, err)
	}
	if _, err := handshake(t, c, &tls.Config{ServerName: "a.example.com", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

func TestLoadCertificates_Errors(t *testing.T) {
	a, b := issue(t, 1, time.Hour, "a.example.com"), issue(t, 2, time.Hour, "b.example.com")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := issueWith(t, key, x509.Certificate{SerialNumber: big.NewInt(3), IsCA: true, NotAfter: time.Now().Add(time.Hour)})
	for name, tt := range map[string]struct {
		files map[string]string
		want  string // Of the folder DIR; empty: it is good.
	}{
		"empty":         {nil, "DIR: it holds no certificate: put NAME.pem (or NAME.crt) and NAME.key there"},
		"mismatch":      {map[string]string{"a.pem": a.cert, "a.key": b.key}, "DIR/a.pem with DIR/a.key: private key does not match public key"},
		"no key":        {map[string]string{"a.pem": a.cert}, "DIR/a.pem: there is no key in it, and no a.key beside it"},
		"no cert":       {map[string]string{"a.key": a.key}, "DIR/a.key: there is no a.pem or a.crt for this key"},
		"garbage":       {map[string]string{"a.pem": "x", "a.key": a.key}, "DIR/a.pem with DIR/a.key: failed to find any PEM data in certificate input"},
		"garbage key":   {map[string]string{"a.pem": a.cert, "a.key": "x"}, "DIR/a.pem with DIR/a.key: failed to find any PEM data in key input"},
		"two of a name": {map[string]string{"a.pem": a.cert, "a.crt": a.cert, "a.key": a.key}, "DIR/a.pem: a.crt stands beside it; remove one of the two"},
		"no host":       {map[string]string{"a.pem": ca.cert, "a.key": ca.key}, "DIR/a.pem: the certificate has no DNS name (subjectAltName), by which clients choose it"},
		"large":         {map[string]string{"a.pem": a.cert + strings.Repeat("#", 1<<20), "a.key": a.key}, "DIR/a.pem: larger than 1 MiB"},
		"one of two":    {map[string]string{"a.pem": a.cert, "a.key": a.key, "b.pem": b.cert}, "DIR/b.pem: there is no key in it, and no b.key beside it"},
		"authority":     {map[string]string{"a.pem": a.cert, "a.key": a.key, "a.issuer.crt": ca.cert}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tt.files {
				put(t, dir, file, text)
			}
			_, err := gateway.LoadCertificates(dir, nil, hclog.NewNullLogger(), prometheus.NewRegistry())
			got := ""
			if err != nil {
				got = strings.ReplaceAll(strings.TrimPrefix(err.Error(), "gateway: load certificates: "), dir, "DIR")
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	pipe := t.TempDir()
	a.putPair(t, pipe, "a")
	if err := syscall.Mkfifo(filepath.Join(pipe, "b.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.LoadCertificates(pipe, nil, hclog.NewNullLogger(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "b.pem: not a regular file") {
		t.Errorf("a pipe: got %v", err)
	}
	if _, err := gateway.LoadCertificates("/nowhere", nil, hclog.NewNullLogger(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "/nowhere: no such file") {
		t.Errorf("no folder: got %v", err)
	}
}

// All the ways in which files are replaced.
func TestCertificates_Replaced(t *testing.T) {
	one, two := issue(t, 1, time.Hour, "a.example.com"), issue(t, 2, time.Hour, "a.example.com")
	t.Run("in place", func(t *testing.T) {
		dir := t.TempDir()
		one.putPair(t, dir, "a")
		c := loadCerts(t, dir)
		two.putPair(t, dir, "a")
		c.Refresh()
		shows(t, c, "a.example.com", 2)
	})
	t.Run("renamed over, with the old time and size", func(t *testing.T) {
		dir := t.TempDir()
		long := time.Now().Add(-time.Hour)
		all := func(i issued, name string) string {
			both := i.cert + i.key
			put(t, dir, name, both+strings.Repeat("\n", 4000-len(both)))
			if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, name)
		}
		final := all(one, "a.pem")
		c := loadCerts(t, dir)
		if err := os.Rename(all(two, "new"), final); err != nil {
			t.Fatal(err)
		}
		c.Refresh()
		shows(t, c, "a.example.com", 2)
	})
	t.Run("link of a folder switched", func(t *testing.T) {
		dir := t.TempDir()
		for name, i := range map[string]issued{"..1": one, "..2": two} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, name), "tls.crt", i.cert)
			put(t, filepath.Join(dir, name), "tls.key", i.key)
		}
		link := func(to, name string) {
			t.Helper()
			if err := os.Symlink(to, filepath.Join(dir, "..tmp")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		link("..1", "..data")
		link("..data/tls.crt", "tls.crt")
		link("..data/tls.key", "tls.key")
		c := loadCerts(t, dir)
		shows(t, c, "a.example.com", 1)
		link("..2", "..data")
		c.Refresh()
		shows(t, c, "a.example.com", 2)
	})
	t.Run("appears and vanishes", func(t *testing.T) {
		dir := t.TempDir()
		one.putPair(t, dir, "a")
		c := loadCerts(t, dir)
		issue(t, 3, time.Hour, "b.example.com").putPair(t, dir, "b")
		c.Refresh()
		shows(t, c, "b.example.com", 3)
		for _, f := range []string{"b.pem", "b.key"} {
			if err := os.Remove(filepath.Join(dir, f)); err != nil {
				t.Fatal(err)
			}
		}
		c.Refresh()
		if got, err := handshake(t, c, &tls.Config{ServerName: "b.example.com"}); err == nil {
			t.Errorf("got certificate %d for what is gone", got)
		}
		shows(t, c, "a.example.com", 1)
	})
}

// names lists the certificates with a problem.
func problems(c *gateway.Certificates) []string {
	var out []string
	for _, cert := range c.List() {
		if cert.Problem != "" {
			out = append(out, cert.Name)
		}
	}
	return out
}

func TestCertificates_LastGoodStays(t *testing.T) {
	good := issue(t, 1, time.Hour, "a.example.com")
	for name, breakIt := range map[string]func(t *testing.T, dir string) string{
		"mismatch": func(t *testing.T, dir string) string {
			put(t, dir, "a.key", issue(t, 2, time.Hour, "x.y").key)
			return "a"
		},
		"truncated": func(t *testing.T, dir string) string { put(t, dir, "a.pem", good.cert[:100]); return "a" },
		"key gone": func(t *testing.T, dir string) string {
			_ = os.Remove(filepath.Join(dir, "a.key"))
			return "a"
		},
		"all gone": func(t *testing.T, dir string) string {
			_ = os.Remove(filepath.Join(dir, "a.key"))
			_ = os.Remove(filepath.Join(dir, "a.pem"))
			return ""
		},
		"folder gone": func(_ *testing.T, dir string) string { _ = os.RemoveAll(dir); return "" },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "certs")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			good.putPair(t, dir, "a")
			c := loadCerts(t, dir)
			blamed := breakIt(t, dir)
			c.Refresh()
			if got := problems(c); got != nil {
				t.Errorf("reported %q at the first look, in which files may be half written", got)
			}
			c.Refresh()
			if diff := cmp.Diff([]string{blamed}, problems(c)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			shows(t, c, "a.example.com", 1)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			issue(t, 9, time.Hour, "a.example.com").putPair(t, dir, "a")
			c.Refresh()
			shows(t, c, "a.example.com", 9)
			if got := problems(c); got != nil {
				t.Errorf("still reported: %q", got)
			}
		})
	}
}

func TestCertificates_Reported(t *testing.T) {
	dir := t.TempDir()
	issue(t, 1, 1000*time.Hour, "a.example.com").putPair(t, dir, "a")
	if err := os.Chmod(filepath.Join(dir, "a.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	reg := prometheus.NewRegistry()
	c, err := gateway.LoadCertificates(dir, nil, hclog.New(&hclog.LoggerOptions{Output: &log}), reg)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "every user of this machine may read a private key") || !strings.Contains(log.String(), "a.key") {
		t.Errorf("no warning about the key in:\n%s", log.String())
	}
	put(t, dir, "b.pem", "x")
	for range 3 {
		c.Refresh()
	}
	if n := strings.Count(log.String(), "certificate not loaded"); n != 1 || !strings.Contains(log.String(), filepath.Join(dir, "b.pem")) {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("a key is in the log")
	}
	got := c.List()
	if len(got) != 2 || got[0].LooseKey == "" || got[1].Name != "b" || !strings.Contains(got[1].Problem, "b.pem") {
		t.Errorf("got %+v", got)
	}
	if n, err := testutil.GatherAndCount(reg, "wadi_gateway_certificate_remaining_seconds"); n != 1 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP wadi_gateway_certificate_problems Certificates of the gateway's folder that can't be loaded; their previous version is in force.
# TYPE wadi_gateway_certificate_problems gauge
wadi_gateway_certificate_problems 1
`), "wadi_gateway_certificate_problems"); err != nil {
		t.Error(err)
	}
}

// Handshakes go on while the folder is read.
func TestCertificates_Concurrently(t *testing.T) {
	dir := t.TempDir()
	one, two := issue(t, 1, time.Hour, "a.example.com"), issue(t, 2, time.Hour, "a.example.com")
	one.putPair(t, dir, "a")
	c := loadCerts(t, dir)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if got, err := handshake(t, c, &tls.Config{ServerName: "a.example.com"}); err != nil || got < 1 || got > 2 {
					t.Errorf("got certificate %d, %v", got, err)
				}
			}
		})
	}
	for i := range 40 {
		[]issued{one, two}[i%2].putPair(t, dir, "a")
		c.Refresh()
	}
	wg.Wait()
}
