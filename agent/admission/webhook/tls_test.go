package webhook_test

import (
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/internal/apitls/certtest"
)

// serveTLS returns the address of a webhook with a certificate of ca that wants one of ca
// from its callers too. It gives the serial numbers of those to seen.
func serveTLS(t *testing.T, ca certtest.Authority, seen func(*big.Int)) string {
	t.Helper()
	f := ca.Files(t, t.TempDir(), 1, "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.PEM))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen(r.TLS.PeerCertificates[0].SerialNumber)
		w.Header().Set("Connection", "close") // The next question makes a connection of its own.
		says(`{"allowed": true}`)(w, r)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// Both sides prove who they are, and the client certificate may be renewed.
func TestAsk_TLS(t *testing.T) {
	ca := certtest.NewAuthority(t)
	var serial string
	url := serveTLS(t, ca, func(n *big.Int) { serial = n.String() })
	dir := t.TempDir()
	f := ca.Files(t, dir, 2, "wadi")
	w := open(t, webhook.Config{CAFile: f.CA, CertFile: f.Cert, KeyFile: f.Key}, url)
	for _, want := range []string{"2", "3"} {
		if a, err := w.Ask(t.Context(), question()); err != nil || !a.Allowed || serial != want {
			t.Errorf("got %+v, %v with certificate %s, want %s", a, err, serial, want)
		}
		ca.Files(t, dir, 3, "wadi")
	}
}

func TestAsk_TLSRefused(t *testing.T) {
	ca, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
	url := serveTLS(t, ca, func(*big.Int) { t.Error("a caller without a good certificate is served") })
	good, bad := ca.Files(t, t.TempDir(), 2, "wadi"), other.Files(t, t.TempDir(), 3, "wadi")
	for name, c := range map[string]webhook.Config{
		"its authority is not trusted": {CAFile: bad.CA, CertFile: good.Cert, KeyFile: good.Key},
		"the system's authorities":     {CertFile: good.Cert, KeyFile: good.Key},
		"no client certificate":        {CAFile: good.CA},
		"another's client certificate": {CAFile: good.CA, CertFile: bad.Cert, KeyFile: bad.Key},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c, url).Ask(t.Context(), question())
			if c.CAFile == good.CA {
				wantFailure(t, err, "can't be reached")
			} else {
				wantFailure(t, err, "its certificate is not trusted")
			}
		})
	}
}

func TestNew_BadFiles(t *testing.T) {
	f := certtest.NewAuthority(t).Files(t, t.TempDir(), 2, "wadi")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]webhook.Config{
		"no certificate in " + empty:  {CAFile: empty},
		"read ca_file":                {CAFile: "/nowhere.pem"},
		"read cert_file and key_file": {CertFile: f.Cert, KeyFile: empty},
	} {
		c.Name = "policy"
		if _, err := webhook.New(c); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"policy"`) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
