package apitls_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/apitls"
	"github.com/wadi-run/wadi/internal/apitls/certtest"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// must returns a function that returns v, and ends the test on an error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func load(t *testing.T, f apitls.Files) *apitls.Source {
	t.Helper()
	return must(apitls.Load(f, hclog.NewNullLogger()))(t)
}

// shake makes a connection between two configurations and says what either side says. The
// state is the client's.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer func() { _ = l.Close() }()
	accepted := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			s := tls.Server(c, server)
			if err = s.Handshake(); err == nil {
				_, err = s.Write([]byte("x"))
			}
			_ = c.Close()
		}
		accepted <- err
	}()
	raw := must(net.Dial("tcp", l.Addr().String()))(t)
	defer func() { _ = raw.Close() }()
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Client(raw, client)
	err := c.Handshake()
	if err == nil {
		_, err = io.ReadAll(io.LimitReader(c, 1)) // TLS 1.3: the server refuses after the client's handshake.
	}
	_ = raw.Close()
	return c.ConnectionState(), errors.Join(err, <-accepted)
}

// Agents know each other by the address at which they reach each other, or by a name that
// their certificates share, and by nothing else.
func TestClientConfig(t *testing.T) {
	ours, foreign := certtest.NewAuthority(t), certtest.NewAuthority(t)
	for _, tt := range []struct {
		name   string
		issuer certtest.Authority
		peer   []string
		own    []string
		host   string
		err    string
	}{
		{"its address", ours, []string{"10.0.0.2"}, []string{"10.0.0.1"}, "10.0.0.2", ""},
		{"its name", ours, []string{"two.example.com"}, []string{"one.example.com"}, "two.example.com", ""},
		{"a name that both have", ours, []string{"wadi.example.com"}, []string{"wadi.example.com", "one.example.com"}, "10.0.0.2", ""},
		{"a wildcard that both have", ours, []string{"*.example.com"}, []string{"*.example.com"}, "10.0.0.2", ""},
		{"another machine of the authority", ours, []string{"db.example.com"}, []string{"wadi.example.com"}, "10.0.0.2", "advertise"},
		{"an address that both have", ours, []string{"127.0.0.1"}, []string{"127.0.0.1"}, "10.0.0.2", "advertise"},
		{"another authority", foreign, []string{"wadi.example.com", "10.0.0.2"}, []string{"wadi.example.com"}, "10.0.0.2", "unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := load(t, tt.issuer.Files(t, t.TempDir(), 2, tt.peer...))
			client := load(t, ours.Files(t, t.TempDir(), 3, tt.own...))
			_, err := shake(t, server.ServerConfig(), client.ClientConfig(tt.host))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}

// With verify_client only certificates of the authority open a connection.
func TestVerifyClient(t *testing.T) {
	ours, foreign := certtest.NewAuthority(t), certtest.NewAuthority(t)
	f := ours.Files(t, t.TempDir(), 2, "wadi.example.com")
	f.VerifyClient = true
	server := load(t, f)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ours.PEM))
	as := func(a *certtest.Authority) *tls.Config {
		c := &tls.Config{RootCAs: roots, ServerName: "wadi.example.com"}
		if a != nil {
			files := a.Files(t, t.TempDir(), 7, "someone.example.com")
			pair := must(tls.LoadX509KeyPair(files.Cert, files.Key))(t)
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		return c
	}
	if _, err := shake(t, server.ServerConfig(), as(nil)); err == nil {
		t.Error("a client without a certificate is accepted")
	}
	if _, err := shake(t, server.ServerConfig(), as(&foreign)); err == nil {
		t.Error("a client of another authority is accepted")
	}
	known := as(&ours)
	known.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if _, err := shake(t, server.ServerConfig(), known); err != nil {
		t.Errorf("a client of the authority: %v", err)
	}
	if _, err := shake(t, server.ServerConfig(), server.ClientConfig("127.0.0.1")); err != nil {
		t.Errorf("another agent: %v", err)
	}
	// The authority is replaced: a session of before is not worth more than its certificate.
	put(t, f.CA, foreign.PEM)
	server.Refresh()
	if _, err := shake(t, server.ServerConfig(), known); err == nil {
		t.Error("a client of the former authority is accepted")
	}
}

// New files are served at once, and bad ones never: neither a half of a pair nor a damaged
// file takes the place of what is in force.
func TestRefresh(t *testing.T) {
	ca, dir := certtest.NewAuthority(t), t.TempDir()
	f := ca.Files(t, dir, 2, "wadi.example.com")
	var log bytes.Buffer
	s := must(apitls.Load(f, hclog.New(&hclog.LoggerOptions{Output: &log})))(t)
	config := s.ServerConfig()
	serial := func() int64 {
		t.Helper()
		state, err := shake(t, config, s.ClientConfig("wadi.example.com"))
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber.Int64()
	}
	next := ca.Files(t, t.TempDir(), 3, "wadi.example.com")
	cert, key := string(must(os.ReadFile(next.Cert))(t)), string(must(os.ReadFile(next.Key))(t))
	put(t, f.Cert, cert) // Without its key yet.
	s.Refresh()
	if got := serial(); got != 2 || strings.Contains(log.String(), "ERROR") {
		t.Errorf("between the two files: serves %d, logs %s", got, &log)
	}
	put(t, f.Key, key)
	if s.Refresh(); serial() != 3 {
		t.Errorf("serves %d", serial())
	}
	for name, text := range map[string]string{"empty": "", "garbage": "garbage", "large": strings.Repeat("x", 2<<20)} {
		for _, file := range []string{f.Cert, f.Key, f.CA} {
			before := must(os.ReadFile(file))(t)
			log.Reset()
			put(t, file, text)
			for range 3 {
				s.Refresh()
			}
			if got := serial(); got != 3 || strings.Count(log.String(), "ERROR") != 1 || !strings.Contains(s.Status().Problem, file) {
				t.Errorf("%s %s: serves %d, status %+v, logs %s", name, filepath.Base(file), got, s.Status(), &log)
			}
			put(t, file, string(before))
			if s.Refresh(); s.Status().Problem != "" {
				t.Errorf("a problem remains: %+v", s.Status())
			}
		}
	}
	log.Reset()
	if s.Refresh(); log.Len() > 0 {
		t.Errorf("unchanged files: logs %s", &log)
	}
	if err := os.Chmod(f.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if s.Refresh(); s.Status().LooseKey != f.Key {
		t.Errorf("a key that all may read: %+v", s.Status())
	}
}

// A change of the files' names is whole or none.
func TestChange(t *testing.T) {
	ca := certtest.NewAuthority(t)
	s := load(t, ca.Files(t, t.TempDir(), 2, "one.example.com"))
	next := ca.Files(t, t.TempDir(), 3, "two.example.com")
	bad := next
	bad.Key = filepath.Join(t.TempDir(), "missing.key")
	if err := s.Change(bad); err == nil || !strings.Contains(err.Error(), "missing.key: no such file") {
		t.Errorf("got %v", err)
	}
	if s.Refresh(); !s.HasName("one.example.com") || s.Status().Problem != "" {
		t.Errorf("after a change that was refused: %+v", s.Status())
	}
	if err := s.Change(next); err != nil || !s.HasName("two.example.com") || s.HasName("one.example.com") {
		t.Errorf("got %v, %+v", err, s.Status())
	}
}

func TestLoad_Errors(t *testing.T) {
	ca, dir := certtest.NewAuthority(t), t.TempDir()
	good := ca.Files(t, dir, 2, "wadi.example.com")
	other := ca.Files(t, t.TempDir(), 3, "wadi.example.com")
	nameless := ca.Files(t, t.TempDir(), 4)
	for name, tt := range map[string]struct {
		change func(*apitls.Files)
		want   string
	}{
		"no file":        {func(f *apitls.Files) { f.Cert = dir + "/none.pem" }, "none.pem: no such file or directory"},
		"a folder":       {func(f *apitls.Files) { f.Key = dir }, dir + ": not a regular file"},
		"another's key":  {func(f *apitls.Files) { f.Key = other.Key }, "private key does not match"},
		"no name":        {func(f *apitls.Files) { f.Cert, f.Key = nameless.Cert, nameless.Key }, "subjectAltName"},
		"no authority":   {func(f *apitls.Files) { f.CA = f.Key }, "there is no certificate in it"},
		"verify without": {func(f *apitls.Files) { f.CA, f.VerifyClient = "", true }, "ca_file"},
	} {
		f := good
		tt.change(&f)
		if _, err := apitls.Load(f, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
