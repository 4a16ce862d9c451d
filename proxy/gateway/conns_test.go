package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/http2"

	"github.com/wadi-run/wadi/proxy/gateway"
)

// run serves by cfg until the test ends.
func run(t *testing.T, cfg gateway.ServerConfig) (addr string) {
	t.Helper()
	cfg.Address, cfg.Log, cfg.ShutdownTimeout = "127.0.0.1:0", hclog.NewNullLogger(), time.Second
	s, err := gateway.NewServer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx) // Requests in flight are cut off.
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return s.Addr().String()
}

// from connects from an address of this machine.
func from(t *testing.T, ip, addr string, client *tls.Config) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if client != nil {
		c = tls.Client(c, client)
	}
	return c
}

// ask sends a request, and returns the status of the answer; 0: the connection ended.
func ask(c net.Conn, path string) int {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path); err != nil {
		return 0
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// isOver waits until the server has ended a connection; after its deadline it only checks.
func isOver(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// holding answers at once, but at /hold when the test lets it.
type holding struct {
	held chan struct{}
	free chan struct{}
}

func newHolding(t *testing.T) *holding {
	h := &holding{held: make(chan struct{}, 1000), free: make(chan struct{})}
	t.Cleanup(func() { close(h.free) })
	return h
}

func (h *holding) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hold" {
		h.held <- struct{}{}
		<-h.free
	}
}

var plainAndTLS = map[string]*tls.Config{
	"plain":  nil,
	"TLS":    {InsecureSkipVerify: true, ServerName: "hello.wadi.localhost", NextProtos: []string{"http/1.1"}},
	"HTTP/2": {InsecureSkipVerify: true, ServerName: "hello.wadi.localhost", NextProtos: []string{"h2"}},
}

func serverTLS(t *testing.T, client *tls.Config) *tls.Config {
	t.Helper()
	if client == nil {
		return nil
	}
	dir := t.TempDir()
	issue(t, 1, time.Hour, "hello.wadi.localhost").putPair(t, dir, "a")
	return loadCerts(t, dir).TLSConfig()
}

// Idle connections are evicted, those of the peer with most of them first; a connection
// that waits for its answer is not.
func TestServer_IdleConnsMakeRoom(t *testing.T) {
	const most = 12
	for name, client := range plainAndTLS {
		for _, kind := range []string{"silent", "kept alive"} {
			if name == "HTTP/2" && kind == "kept alive" {
				continue // The same: no stream is open.
			}
			t.Run(name+" "+kind, func(t *testing.T) {
				h := newHolding(t)
				addr := run(t, gateway.ServerConfig{Handler: h, TLS: serverTLS(t, client), Limits: gateway.Limits{MaxConns: most}})
				ask1 := client
				if name == "HTTP/2" {
					ask1 = plainAndTLS["TLS"]
				}
				busy := from(t, "127.0.0.9", addr, ask1)
				answered := make(chan int, 1)
				go func() { answered <- ask(busy, "/hold") }()
				<-h.held
				var idle []net.Conn
				for i := range most - 1 {
					c := from(t, fmt.Sprintf("127.0.0.%d", 10+i/6), addr, client)
					if tc, ok := c.(*tls.Conn); ok {
						if err := tc.HandshakeContext(t.Context()); err != nil {
							t.Fatal(err)
						}
						if name == "HTTP/2" {
							settle(t, c)
						}
					}
					if kind == "kept alive" {
						if got := ask(c, "/"); got != http.StatusOK {
							t.Fatalf("an idle one got %d", got)
						}
					}
					idle = append(idle, c)
				}
				ended := make(chan int, most)
				for i, c := range idle {
					go func() {
						if isOver(c) {
							ended <- i
						}
					}()
				}
				for range 3 {
					if got := ask(from(t, "127.0.0.99", addr, ask1), "/"); got != http.StatusOK {
						t.Fatalf("a new caller got %d", got)
					}
				}
				ofLargest := 0
				for range 3 {
					if <-ended < 6 {
						ofLargest++
					}
				}
				if ofLargest < 2 {
					t.Errorf("%d of 3 closed connections are of the peer with most of them, want 2 or more", ofLargest)
				}
				h.free <- struct{}{}
				if got := <-answered; got != http.StatusOK {
					t.Errorf("the request in flight got %d", got)
				}
			})
		}
	}
}

// settle speaks HTTP/2 until the server has seen that c does.
func settle(t *testing.T, c net.Conn) {
	t.Helper()
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings()
	_ = f.WritePing(false, [8]byte{})
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := frame.(*http2.PingFrame); ok && p.IsAck() {
			return
		}
	}
}

// Slow headers and handshakes are evicted, too, before their deadline.
func TestServer_DawdlersMakeRoom(t *testing.T) {
	for name, client := range plainAndTLS {
		if name == "HTTP/2" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			const most = 8
			addr := run(t, gateway.ServerConfig{Handler: newHolding(t), TLS: serverTLS(t, client), Limits: gateway.Limits{MaxConns: most, ReadHeaderTimeout: time.Hour}})
			for i := range most {
				c := from(t, "127.0.0.1", addr, nil)
				switch {
				case client == nil:
					_, _ = io.WriteString(c, "GET / HT")
				case i%2 == 0:
					_, _ = c.Write([]byte{0x16, 3, 1, 1, 0})
				default:
					_, _ = io.WriteString(tls.Client(c, client), "GET / HT")
				}
			}
			for end := time.Now().Add(time.Minute); ask(from(t, "127.0.0.2", addr, client), "/") != http.StatusOK; {
				if time.Now().After(end) {
					t.Fatal("slow connections lock out others")
				}
			}
		})
	}
}

// One peer may keep any number of requests in flight, and others still come in; but a load
// balancer's connections belong to its callers.
func TestServer_OnePeerLeavesRoom(t *testing.T) {
	const most = 30
	for name, tt := range map[string]struct {
		trusted []netip.Prefix
		want    int
	}{
		"any peer":      {want: 20}, // Twice what is left.
		"load balancer": {trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, want: most},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolding(t)
			addr := run(t, gateway.ServerConfig{Handler: h, TrustedProxies: tt.trusted, Limits: gateway.Limits{MaxConns: most}})
			over := make(chan struct{}, most+5)
			for range most + 5 {
				c := from(t, "127.0.0.1", addr, nil)
				_, _ = io.WriteString(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
				go func() {
					_, _ = c.Read(make([]byte, 1))
					over <- struct{}{}
				}()
			}
			for range tt.want {
				<-h.held
			}
			for range most + 5 - tt.want {
				<-over
			}
			if len(h.held) > 0 {
				t.Errorf("more than %d are in flight", tt.want)
			}
			if got := ask(from(t, "127.0.0.2", addr, nil), "/"); (got == http.StatusOK) != (tt.trusted == nil) {
				t.Errorf("another peer got %d", got)
			}
		})
	}
}

// Idle connections are evicted where the process may have fewer descriptors than the
// listener connections. The server is a process of its own, as this one would have no
// descriptors left either.
func TestServer_FewDescriptors(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServer_WithFewDescriptors$")
	cmd.Env = append(os.Environ(), fewDescriptors+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr = strings.TrimSpace(addr)
	for range 300 {
		from(t, "127.0.0.1", addr, nil)
	}
	if got := ask(from(t, "127.0.0.2", addr, nil), "/"); got != http.StatusOK {
		t.Errorf("beside 300 idle connections a caller got %d", got)
	}
}

const fewDescriptors = "WADI_TEST_FEW_DESCRIPTORS"

// It is the server of TestServer_FewDescriptors, until its standard input ends.
func TestServer_WithFewDescriptors(t *testing.T) {
	if os.Getenv(fewDescriptors) == "" {
		t.Skip("runs for TestServer_FewDescriptors")
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 100, Max: 100}); err != nil {
		t.Fatal(err)
	}
	fmt.Println(run(t, gateway.ServerConfig{Handler: newHolding(t)}))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// The header of a frame allocates no buffer of the size that it claims.
func TestServer_FramesTakeLittleMemory(t *testing.T) {
	const conns = 100
	for name, client := range map[string]*tls.Config{"plain": nil, "TLS": plainAndTLS["HTTP/2"]} {
		t.Run(name, func(t *testing.T) {
			addr := run(t, gateway.ServerConfig{Handler: newHolding(t), TLS: serverTLS(t, client)})
			begin := func(size uint32) (most uint32, c net.Conn) {
				c = from(t, "127.0.0.1", addr, client)
				_, _ = io.WriteString(c, http2.ClientPreface)
				f := http2.NewFramer(c, c)
				_ = f.WriteSettings()
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				most, ok := frame.(*http2.SettingsFrame).Value(http2.SettingMaxFrameSize)
				if !ok {
					most = 16 << 10 // HTTP/2's own.
				}
				_, _ = c.Write(frameHeader(size, http2.FrameHeaders, 1))
				return most, c
			}
			var before, after runtime.MemStats
			most, _ := begin(1)
			runtime.GC()
			runtime.ReadMemStats(&before)
			for range conns {
				begin(most)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if most != 16<<10 {
				t.Errorf("frames of %d bytes are offered, want 16 KiB", most)
			}
			// With 1 MiB it was as much for each.
			if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / conns; each > 200<<10 {
				t.Errorf("each connection holds %d KiB", each>>10)
			}
			_, c := begin(most + 1)
			if !isOver(c) {
				t.Error("a frame beyond the bound is waited for")
			}
		})
	}
}

func frameHeader(size uint32, kind http2.FrameType, stream uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, size<<8|uint32(kind))
	b = append(b, 0)
	return binary.BigEndian.AppendUint32(b, stream)
}
