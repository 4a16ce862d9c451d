package activator_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// tlsDialer dials backends of newTLSBackend, and notes what it dialled.
type tlsDialer struct {
	conf *tls.Config

	mu    sync.Mutex
	conns []net.Conn
}

func (d *tlsDialer) Dial(ctx context.Context, ep wadi.Endpoint) (net.Conn, error) {
	c, err := (&tls.Dialer{Config: d.conf}).DialContext(ctx, "tcp", ep.Addr)
	if err == nil {
		d.mu.Lock()
		d.conns = append(d.conns, c)
		d.mu.Unlock()
	}
	return c, err
}

// breakAll breaks what is open.
func (d *tlsDialer) breakAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.(*tls.Conn).NetConn().Close()
	}
	d.conns = nil
}

// newTLSRig is a rig of a gRPC service whose instances are reached by mTLS, as
// behind Envoy, with one instance that is placed when the service is woken.
func newTLSRig(t *testing.T) (*rig, *backend, *tlsDialer) {
	t.Helper()
	b := &backend{name: "alloc-1"}
	b.srv = httptest.NewUnstartedServer(b)
	b.srv.EnableHTTP2 = true
	b.srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	b.srv.StartTLS()
	t.Cleanup(b.stop)
	b.ep = wadi.Endpoint{Revision: revision, Service: service, Instance: b.name, Addr: b.srv.Listener.Addr().String()}
	d := &tlsDialer{conf: b.srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	d.conf.NextProtos, d.conf.ServerName, d.conf.Certificates = []string{"h2"}, "example.com", b.srv.TLS.Certificates
	g := newRig(t, settings(), func(c *activator.Config) { c.Dialer = d })
	g.act.SetRoutes(routes(settings(), wadi.GRPC))
	g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
	return g, b, d
}

// http2 makes the rig's client speak HTTP/2.
func (g *rig) http2(t *testing.T) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// From zero: the connection that was probed is the one that the first request goes
// over, with its stream in both directions and the trailers.
func TestHTTP2_FromZero(t *testing.T) {
	g, b, d := newTLSRig(t)
	b.app = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		lines := bufio.NewReader(r.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			_, _ = io.WriteString(w, line)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0") // Not announced, as gRPC servers do.
	}
	in, out := io.Pipe()
	r := g.request(t, http.MethodPost, "/", in)
	r.Header.Set("TE", "trailers")
	go func() { _, _ = io.WriteString(out, "one\n") }()
	res, err := g.http2(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, next := range []string{"two\n", "three\n", ""} {
		got, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		if next == "" {
			break
		}
		_, _ = io.WriteString(out, next)
	}
	_ = out.Close()
	rest, err := io.ReadAll(lines)
	if err != nil || len(rest) > 0 || res.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("got %q, %v, trailer %v at the end", rest, err, res.Trailer)
	}
	if got := b.last(); got.ProtoMajor != 2 || got.Header.Get("Te") != "trailers" || got.Header.Get(wadi.HeaderInstance) != "alloc-1" {
		t.Errorf("the instance was asked over %s with %v", got.Proto, got.Header)
	}
	// Probes that take too long are repeated over new connections: what counts is the last.
	if got := b.last().RemoteAddr; got != b.probedBy {
		t.Errorf("the request came over the connection from %s, want the probed one from %s (%d were dialled)", got, b.probedBy, len(d.conns))
	}
}

// A connection breaks, and another instance is at the address by then: no request
// reaches it, with or without a body.
func TestHTTP2_OtherInstanceByThen(t *testing.T) {
	g, b, d := newTLSRig(t)
	post := func() answer {
		res, err := g.http2(t).Do(g.request(t, http.MethodPost, "/", strings.NewReader("x")))
		if err != nil {
			return answer{err: err}
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return answer{res.StatusCode, string(body), res.Header, err}
	}
	if got := post(); got.status != 200 {
		t.Fatalf("got %v", got)
	}
	b.set(func(b *backend) { b.name = "other" })
	d.breakAll()
	done := make(chan answer, 1)
	go func() {
		got := post()
		for got.header.Get(activator.HeaderError) == activator.CodeUpstream { // It went over the broken connection before that was noticed.
			got = post()
		}
		done <- got
	}()
	g.waiting(t, 1) // It left rotation: it is probed again.
	if n, _, _ := b.counts(); n != 1 {
		t.Errorf("%d requests reached the address, want the first one only", n)
	}
	b.set(func(b *backend) { b.name = "alloc-1" })
	if got := <-done; got.status != 200 || got.body != "alloc-1" {
		t.Errorf("got %v, want an answer once the instance is itself again", got)
	}
}

// silentFirst dials a listener that accepts connections and sends nothing, once.
type silentFirst struct {
	*cluster
	silent net.Listener
	once   sync.Once
}

func (d *silentFirst) Dial(ctx context.Context, ep wadi.Endpoint) (net.Conn, error) {
	d.once.Do(func() { ep.Addr = d.silent.Addr().String() })
	return d.cluster.Dial(ctx, ep)
}

// A connection on which nothing is answered is not asked over again.
func TestHTTP2_SilentConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := &silentFirst{silent: l}
	g := newRig(t, settings(), func(c *activator.Config) {
		d.cluster = c.Dialer.(*cluster)
		c.Dialer = d
	})
	g.act.SetRoutes(routes(settings(), wadi.H2C))
	b := newBackend(t, "alloc-1")
	g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
	began := time.Now()
	if got := g.get(t); got.status != 200 || got.body != "alloc-1" {
		t.Errorf("got %v", got)
	}
	// After that long without an answer to a ping it would be given up anyway.
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A gRPC call is refused with a code, and counted by what it means.
func TestRefusal_OfGRPC(t *testing.T) {
	g := newRig(t, settings())
	set := settings()
	set.Failed = "its image is gone"
	g.act.SetRoutes(routes(set, wadi.GRPC))
	r := g.request(t, http.MethodPost, "/", strings.NewReader("x"))
	r.Header.Set("Content-Type", "application/grpc")
	res, err := g.http2(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	h := res.Header
	if res.StatusCode != 200 || h.Get("Grpc-Status") != "14" || !strings.Contains(h.Get("Grpc-Message"), wadi.ReasonID(revision, set.Failed)) ||
		h.Get(activator.HeaderError) != activator.CodeFailed || h.Get("Content-Type") != "application/grpc" {
		t.Errorf("got %d %v, want code 14 with the reason", res.StatusCode, h)
	}
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "wadi_activator_requests_total" && l.GetName() == "class" && l.GetValue() != "5xx" {
					t.Errorf("counted as %s, want 5xx", l.GetValue())
				}
			}
		}
	}
}
