package gateway_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// meshTLS is the client configuration of a service of the mesh.
func meshTLS(t *testing.T, service string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := issueWith(t, key, x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{{Scheme: "spiffe", Host: "a.consul", Path: "/ns/default/dc/dc1/svc/" + service}},
	})
	pair, err := tls.X509KeyPair([]byte(i.cert), []byte(i.key))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
}

func meshServer(t *testing.T) *tls.Config {
	c := meshTLS(t, "wadi-activator")
	c.ClientAuth = tls.RequireAnyClientCert // Package mesh checks the chain.
	return c
}

// In the mesh the identity has a bound, as all Envoys of a node may come from one address,
// and those of a service from many: idle connections of the largest identity are evicted.
func TestServer_MeshIdentitiesLeaveRoom(t *testing.T) {
	const most = 30
	h := newHolding(t)
	addr := run(t, gateway.ServerConfig{Handler: h, TLS: meshServer(t), Limits: gateway.Limits{MaxConns: most, IdleTimeout: time.Hour}})
	greedy, modest := meshTLS(t, "greedy"), meshTLS(t, "modest")
	var first net.Conn
	for i := range 3 * most {
		c := from(t, fmt.Sprintf("127.0.0.%d", 1+i%5), addr, greedy)
		if got := ask(c, "/"); got != http.StatusOK {
			t.Fatalf("connection %d got %d", i, got)
		}
		if i == 0 {
			first = c
		}
	}
	if !isOver(first) {
		t.Error("the first idle one is still open")
	}
	var kept []net.Conn
	for i := range 8 { // As many as one identity may have.
		c := from(t, "127.0.0.1", addr, modest)
		if got := ask(c, "/"); got != http.StatusOK {
			t.Fatalf("connection %d of another service got %d", i, got)
		}
		kept = append(kept, c)
	}
	for range most {
		_ = ask(from(t, "127.0.0.1", addr, greedy), "/")
	}
	for i, c := range kept {
		if got := ask(c, "/"); got != http.StatusOK {
			t.Errorf("kept connection %d of another service got %d", i, got)
		}
	}
	// Connections with requests in flight can't be evicted, and there are still slots.
	over := make(chan struct{}, most)
	for range most {
		c := from(t, "127.0.0.1", addr, greedy)
		go func() { _ = ask(c, "/hold"); over <- struct{}{} }()
	}
	for range most { // A connection that still shakes hands has no identity, and counts for its address alone.
		select {
		case <-h.held:
		case <-over:
		}
	}
	if got := ask(from(t, "127.0.0.1", addr, modest), "/"); got != http.StatusOK {
		t.Errorf("another service got %d beside requests in flight", got)
	}
}

// judge denies every request.
type judge struct{}

func (judge) Caller(*http.Request) (string, error) { return "web", nil }
func (judge) Authorize(string, string, *http.Request) error {
	return fmt.Errorf("%w: web may not", wadi.ErrForbidden)
}

// nowhere is an empty cluster.
type nowhere struct{}

func (nowhere) Endpoints(string) ([]wadi.Endpoint, <-chan struct{}) { return nil, make(chan struct{}) }
func (nowhere) Wake(context.Context, string) error                  { return nil }
func (nowhere) Diagnosis(string) wadi.Diagnosis                     { return wadi.Diagnosis{} }
func (nowhere) Dial(context.Context, wadi.Endpoint) (net.Conn, error) {
	return nil, errors.New("nowhere to dial")
}

// A caller that may not call gets an answer that says so, and loses its connection.
func TestServer_DeniedOnesDontStay(t *testing.T) {
	act, err := activator.New(activator.Config{Name: "a", Boot: "1", Endpoints: nowhere{}, Waker: nowhere{}, Diagnoses: nowhere{}, Dialer: nowhere{},
		Log: hclog.NewNullLogger(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	addr := run(t, gateway.ServerConfig{Handler: act.MeshHandler(judge{}), TLS: meshServer(t), Limits: gateway.Limits{IdleTimeout: time.Hour}})
	for _, proto := range []string{"http/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			client := meshTLS(t, "web")
			client.NextProtos = []string{proto}
			c := from(t, "127.0.0.1", addr, client)
			if proto == "h2" { // A caller that ignores GOAWAY.
				fields := []string{":method", "GET", ":scheme", "https", ":authority", "h", ":path", "/", "wadi-service", "hello", "wadi-revision", "hello-00001"}
				if got := askHTTP2(t, c, fields, ""); got != "403" {
					t.Fatalf("got %q, want 403", got)
				}
			} else {
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nWadi-Service: hello\r\nWadi-Revision: hello-00001\r\n\r\n")
				if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusForbidden {
					t.Fatalf("got %v, %v, want 403", res, err)
				}
			}
			if !isOver(c) {
				t.Error("the connection stays open")
			}
		})
	}
}
