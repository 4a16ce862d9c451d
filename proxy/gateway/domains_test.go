package gateway_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/proxy/gateway"
)

// domains has a certificate for each name in it.
type domains map[string]issued

func (d domains) Certificate(domain string) *tls.Certificate {
	i, ok := d[domain]
	if !ok {
		return nil
	}
	c, err := tls.X509KeyPair([]byte(i.cert), []byte(i.key))
	if err != nil {
		panic(err)
	}
	return &c
}

func (d domains) AnswerHTTP(context.Context, string, string) (string, bool) { return "", false }

func (d domains) AnswerTLS(_ context.Context, domain string) *tls.Certificate {
	return d.Certificate("acme." + domain)
}

// The folder's certificate is served where it has one, by its name or a wildcard, and the
// domain's elsewhere; a client without a name gets the folder's alone.
func TestCertificates_FolderBeforeDomains(t *testing.T) {
	dir := t.TempDir()
	issue(t, 1, time.Hour, "both.example.com", "*.wild.example.com").putPair(t, dir, "a")
	obtained := domains{"both.example.com": issue(t, 2, time.Hour, "both.example.com"),
		"x.wild.example.com": issue(t, 3, time.Hour, "x.wild.example.com"), "one.example.com": issue(t, 4, time.Hour, "one.example.com")}
	c, err := gateway.LoadCertificates(dir, obtained, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"both.example.com": 1, "x.wild.example.com": 1, "one.example.com": 4, "ONE.example.com": 4, "": 1} {
		shows(t, c, name, want)
	}
	if _, err := handshake(t, c, &tls.Config{ServerName: "two.example.com"}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a name without a certificate: %v", err)
	}
	for host, want := range map[string]bool{"both.example.com": true, "y.wild.example.com": true, "one.example.com": false} {
		if got := c.Covers(host); got != want {
			t.Errorf("the folder covers %s: %v", host, got)
		}
	}
	alone, err := gateway.LoadCertificates("", obtained, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	alone.Refresh()
	shows(t, alone, "both.example.com", 2)
	if _, err := handshake(t, alone, &tls.Config{}); err == nil {
		t.Error("without a name and without a folder a certificate is served")
	}
	if all := alone.List(); len(all) != 0 {
		t.Errorf("without a folder: %+v", all)
	}
}

// Only the authority's own protocol gets the answer to the authority, and nothing may
// follow it; with other protocols beside it a client gets the usual certificate.
func TestCertificates_ForTheAuthority(t *testing.T) {
	obtained := domains{"acme.one.example.com": issue(t, 9, time.Hour, "one.example.com"), "one.example.com": issue(t, 4, time.Hour, "one.example.com")}
	c, err := gateway.LoadCertificates("", obtained, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	addr := serveTLS(t, http.NotFoundHandler(), c)
	dial := func(name string, protocols ...string) (*tls.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true}}
		conn, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn.(*tls.Conn), nil
	}
	conn, err := dial("one.example.com", "acme-tls/1")
	if err != nil {
		t.Fatal(err)
	}
	if s := conn.ConnectionState(); s.NegotiatedProtocol != "acme-tls/1" || s.PeerCertificates[0].SerialNumber.Int64() != 9 {
		t.Errorf("got %q and certificate %s", s.NegotiatedProtocol, s.PeerCertificates[0].SerialNumber)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("the connection stays open, with %d bytes", n)
	}
	if conn, err = dial("one.example.com", "acme-tls/1", "http/1.1"); err != nil {
		t.Fatal(err)
	}
	if s := conn.ConnectionState(); s.NegotiatedProtocol != "http/1.1" || s.PeerCertificates[0].SerialNumber.Int64() != 4 {
		t.Errorf("got %q and certificate %s", s.NegotiatedProtocol, s.PeerCertificates[0].SerialNumber)
	}
	for _, name := range []string{"two.example.com", ""} {
		if _, err := dial(name, "acme-tls/1"); err == nil {
			t.Errorf("for %q the authority is answered", name)
		}
	}
}
