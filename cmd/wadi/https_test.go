package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/config"
)

// secureConfig is an agent with TLS at its gateway, and the folder of its certificates.
func secureConfig(t *testing.T, redirect bool) (file, certs string) {
	t.Helper()
	certs = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"*.wadi.localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	if err := os.WriteFile(filepath.Join(certs, "wild.pem"), both, 0o600); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "wadi.hcl")
	hcl := fmt.Sprintf(`http { address = "127.0.0.1:0" }
metrics { address = "127.0.0.1:0" }
activator { address = "127.0.0.1:0" }
gateway {
  address = "127.0.0.1:0"
  tls {
    address  = "127.0.0.1:0"
    cert_dir = %q
    redirect = %v
  }
}
queue_proxy {
  driver = "docker"
}
nomad { address = "http://127.0.0.1:1" } # Nobody's: somebody may run his own at the usual ports.
consul { address = "http://127.0.0.1:1" }
`, certs, redirect)
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, certs
}

func TestGatewayURL(t *testing.T) {
	for _, tt := range []struct {
		redirect, mapped bool
		want             string // PLAIN and SECURE are the listeners' own ports.
	}{
		{false, false, "http://hello.wadi.localhost:PLAIN"},
		{true, false, "https://hello.wadi.localhost:SECURE"},
		{false, true, "http://hello.wadi.localhost:8000"},
		{true, true, "https://hello.wadi.localhost"},
	} {
		file, _ := secureConfig(t, tt.redirect)
		cfg, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if tt.mapped {
			cfg.Gateway.PublicPort, cfg.Gateway.TLS.PublicPort = 8000, 443
		}
		n, err := newNode(t.Context(), cfg, hclog.NewNullLogger(), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		defer n.close()
		_, plain, _ := net.SplitHostPort(n.gatewayServer.Addr().String())
		_, secure, _ := net.SplitHostPort(n.tlsAddress())
		want := strings.NewReplacer("PLAIN", plain, "SECURE", secure).Replace(tt.want)
		if got := n.gatewayURL("hello"); got != want {
			t.Errorf("%+v: got %s, want %s", tt, got, want)
		}
	}
}

// An agent refuses to start with a certificate that can't be used.
func TestAgent_BrokenCertificate(t *testing.T) {
	file, certs := secureConfig(t, false)
	b := newBench(t)
	for name, text := range map[string]string{"broken.pem": "no certificate", "broken.key": "no key"} {
		if err := os.WriteFile(filepath.Join(certs, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := b.wadi(t, "agent", "-config", file)
	if o.code != 1 || !strings.Contains(o.stderr, "gateway.tls.cert_dir: ") || !strings.Contains(o.stderr, filepath.Join(certs, "broken.pem")) {
		t.Errorf("got %+v", o)
	}
	if err := os.RemoveAll(certs); err != nil {
		t.Fatal(err)
	}
	o = b.wadi(t, "agent", "-config", file)
	if o.code != 2 || !strings.Contains(o.stderr, "wadi.hcl:8,") || !strings.Contains(o.stderr, "there is no folder") {
		t.Errorf("got %+v", o)
	}
}
