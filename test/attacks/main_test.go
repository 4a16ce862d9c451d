//go:build e2e

// Package attacks_test attacks a real agent on a real Nomad and Consul with ACLs, as a
// caller would that means harm: with rights of its own, with none, and from another machine.
//
// All tests share one cluster and two agents: one on loopback, as by default, and one whose
// API other machines reach over TLS, with the default bounds.
package attacks_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/apitls"
	"github.com/wadi-run/wadi/internal/apitls/certtest"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

const waitLong = harnesstest.WaitLong

// What all tests share.
var (
	stack *harnesstest.Stack
	open  *harness.Agent // Its API is open to other machines, over TLS.
	files apitls.Files   // Of its TLS.

	authority certtest.Authority // Has signed them.

	alice string // May do everything in namespace alice.
	bob   string // The same in bob, whose service is the target.
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wadi-attacks-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := harnesstest.Run(m, &stack, harnesstest.Options{
		Parallel: 4, Stack: harness.Options{ACLs: true},
		Ready: func(ctx context.Context) error { return errors.Join(makeTokens(ctx), startOpen(ctx, dir)) },
	})
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// makeTokens makes the namespaces and what alice and bob are known by.
func makeTokens(ctx context.Context) error {
	for name, token := range map[string]*string{"alice": &alice, "bob": &bob} {
		if _, err := stack.Nomad.Namespaces().Register(&nomad.Namespace{Name: name}, (&nomad.WriteOptions{}).WithContext(ctx)); err != nil {
			return fmt.Errorf("make namespace %s: %w", name, err)
		}
		rules := fmt.Sprintf("namespace %q {\n  policy = \"write\"\n}\n", name)
		if err := stack.SetNomadPolicy(ctx, name, rules); err != nil {
			return err
		}
		made, err := stack.NomadToken(ctx, name, name)
		if err != nil {
			return err
		}
		*token = made.SecretID
	}
	return nil
}

// openShare is how many requests per second the open agent takes of one caller.
const openShare = 100

// startOpen starts the agent that other machines reach.
func startOpen(ctx context.Context, dir string) (err error) {
	ports, err := freeport.Ports(1)
	if err != nil {
		return err
	}
	at := net.JoinHostPort(stack.Cluster.HostIP, strconv.Itoa(ports[0]))
	if authority, err = certtest.Make(); err != nil {
		return err
	}
	if files, err = authority.Write(dir, 2, stack.Cluster.HostIP, "wadi.example.com"); err != nil {
		return err
	}
	open, err = stack.NewAgent("wadi-open", fmt.Sprintf(`http {
  address             = %q
  requests_per_second = %d
  tls {
    cert_file = %q
    key_file  = %q
    ca_file   = %q
  }
}
`, at, openShare, files.Cert, files.Key, files.CA))
	if err != nil {
		return err
	}
	open.API = at
	open.Client, err = api.New(api.Config{Address: "https://" + at, Token: open.Tokens.Nomad, TLS: api.TLS{CAFile: files.CA}})
	if err != nil {
		return err
	}
	if err := open.Start(ctx); err != nil {
		return err
	}
	return open.WaitLeader(ctx)
}

// target deploys bob's service once for all tests, and returns what it looks like.
func target(t *testing.T) api.Service {
	t.Helper()
	c := clientOf(t, bob)
	if _, err := c.Service(t.Context(), "bobs"); err != nil {
		_, err := c.Apply(t.Context(), submission(strings.Replace(harnesstest.Hello("bobs", "min = 1", "domains = [\"bobs.example.com\"]"), "service \"bobs\" {", "service \"bobs\" {\n  namespace = \"bob\"", 1)))
		must(t, "submit bob's service", err)
	}
	var s api.Service
	eventually(t, waitLong, func() (err error) {
		s, err = c.Service(t.Context(), "bobs")
		if err == nil && s.Phase != "ready" {
			err = fmt.Errorf("it is %s: %+v", s.Phase, s.Status.Conditions)
		}
		return err
	})
	return s
}

// clientOf calls the agent on loopback with a Nomad token.
func clientOf(t *testing.T, token string) *api.Client {
	t.Helper()
	c, err := api.New(api.Config{Address: "http://" + stack.Agent.API, Token: token})
	must(t, "make a client", err)
	return c
}

func submission(source string) api.Submission {
	return api.Submission{Files: []api.File{{Name: "attack.hcl", Source: source}}}
}

// in puts a service of the example app into a namespace.
func in(namespace, name, more string) string {
	return strings.Replace(harnesstest.Hello(name, "min = 0", more), "{", "{\n  namespace = "+strconv.Quote(namespace), 1)
}

// request is a request to an API. Its header holds pairs.
type request struct {
	method, path, body string
	header             []string
	from               string // The caller's address; empty: any.
}

// ask sends a request to the agent on loopback, or over TLS to the open one.
func ask(t *testing.T, a *harness.Agent, r request) harness.Response {
	t.Helper()
	res, err := try(t, a, r)
	must(t, r.method+" "+r.path, err)
	return res
}

func try(t *testing.T, a *harness.Agent, r request) (harness.Response, error) {
	t.Helper()
	scheme := "http"
	if a == open {
		scheme = "https"
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLong)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, scheme+"://"+a.API+r.path, strings.NewReader(r.body))
	must(t, "make a request", err)
	for i := 0; i+1 < len(r.header); i += 2 {
		if r.header[i] == "Host" {
			req.Host = r.header[i+1]
			continue
		}
		req.Header.Add(r.header[i], r.header[i+1])
	}
	dialer := &net.Dialer{}
	if r.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(r.from)}
	}
	return harness.Do(&http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots(t)},
	}}, req)
}

func roots(t *testing.T) *x509.CertPool {
	t.Helper()
	b, err := os.ReadFile(files.CA)
	must(t, "read the authority", err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return pool
}

// raw opens a connection to a listener, over TLS to the open agent's API.
func raw(t *testing.T, addr string) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	if addr == open.API {
		conn, err = tls.Dial("tcp", addr, &tls.Config{RootCAs: roots(t)})
	} else {
		conn, err = net.Dial("tcp", addr)
	}
	must(t, "dial "+addr, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ended waits until the other side ends a connection, and returns what it sent.
func ended(conn net.Conn) (string, error) {
	_ = conn.SetReadDeadline(time.Now().Add(waitLong))
	b, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return string(b), errors.New("the connection is still open")
	}
	return string(b), nil
}

func must(t testing.TB, what string, err error) {
	t.Helper()
	harnesstest.Must(t, what, err)
}

func eventually(t testing.TB, within time.Duration, ok func() error) {
	t.Helper()
	harnesstest.Eventually(t, within, ok)
}
