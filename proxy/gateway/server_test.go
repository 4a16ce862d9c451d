package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/gateway"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

// listening is a gateway's server that runs until the test ends.
type listening struct {
	addr string
	stop func() error

	mu        sync.Mutex
	malformed []framing.Reason
}

func (l *listening) refused() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.malformed)
}

func listen(t *testing.T, h http.Handler, certs *gateway.Certificates, b gateway.Limits) *listening {
	t.Helper()
	l := &listening{}
	cfg := gateway.ServerConfig{Address: "127.0.0.1:0", Handler: h, Log: hclog.NewNullLogger(), Limits: b, Malformed: func(r framing.Reason) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.malformed = append(l.malformed, r)
	}}
	if certs != nil {
		cfg.TLS = certs.TLSConfig()
	}
	s, err := gateway.NewServer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	l.addr = s.Addr().String()
	l.stop = sync.OnceValue(func() error { cancel(); return <-ran })
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// dial connects, over TLS if proto is not "".
func dial(t *testing.T, addr, proto string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if proto == "" {
		return c
	}
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "hello.wadi.localhost", NextProtos: []string{proto}})
	if err := s.Handshake(); err != nil {
		t.Fatal(err)
	}
	return s
}

// both runs test on a plain and on a TLS listener.
func both(t *testing.T, h http.Handler, b gateway.Limits, test func(t *testing.T, l *listening, proto string)) {
	t.Run("plain", func(t *testing.T) { test(t, listen(t, h, nil, b), "") })
	t.Run("TLS", func(t *testing.T) {
		dir := t.TempDir()
		issue(t, 1, time.Hour, "hello.wadi.localhost").putPair(t, dir, "a")
		test(t, listen(t, h, loadCerts(t, dir), b), "http/1.1")
	})
}

func TestServer_RefusesMalformed(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.URL.Path, r.TLS != nil) })
	both(t, h, gateway.Limits{}, func(t *testing.T, l *listening, proto string) {
		c := dial(t, l.addr, proto)
		_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n")
		r := bufio.NewReader(c)
		for _, want := range []string{fmt.Sprint("/a", proto != ""), "400 Bad Request: " + framing.LengthAndCoding.Text() + "\n"} {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(res.Body); string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("then %q, %v", rest, err)
		}
		if l.refused() != 1 {
			t.Errorf("%d refusals were counted", l.refused())
		}
	})
}

// Slow callers are cut off, in the handshake, in the header and before a request.
func TestServer_CutsDawdlersOff(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
	bounds := gateway.Limits{ReadHeaderTimeout: 200 * time.Millisecond, IdleTimeout: 200 * time.Millisecond}
	both(t, h, bounds, func(t *testing.T, l *listening, proto string) {
		for _, begin := range []string{"", "G", "GET / HT", "GET / HTTP/1.1\r\nHost: h\r\nX: ", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n", "handshake"} {
			var c net.Conn
			if begin == "handshake" {
				c = dial(t, l.addr, "")
				_, _ = c.Write([]byte{0x16, 3, 1, 1, 0}) // Of a TLS record, in both cases.
			} else {
				c = dial(t, l.addr, proto)
				_, _ = io.WriteString(c, begin)
			}
			if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
				t.Errorf("%q: not cut off: %v", begin, err)
			}
			_ = c.Close()
		}
	})
}

// A spare connection is not closed before its first request, which then has the time of a
// header.
func TestServer_KeepsConnectionsInReserve(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
	bounds := gateway.Limits{ReadHeaderTimeout: 300 * time.Millisecond, IdleTimeout: time.Hour}
	both(t, h, bounds, func(t *testing.T, l *listening, proto string) {
		c := dial(t, l.addr, proto)
		slow := dial(t, l.addr, proto)
		_, _ = io.WriteString(slow, "GET / HT")
		if _, err := io.Copy(io.Discard, slow); err != nil && !isReset(err) {
			t.Fatalf("a slow header is not cut off: %v", err)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if got, _ := io.ReadAll(c); !bytes.HasPrefix(got, []byte("HTTP/1.1 200")) {
			t.Errorf("after the time for a header: got %q, want an answer", got)
		}
	})
}

func isReset(err error) bool {
	return strings.Contains(err.Error(), "reset") || strings.Contains(err.Error(), "EOF") || strings.Contains(err.Error(), "broken pipe")
}

// served waits until a request is.
func served(t *testing.T, addr, proto string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if proto != "" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "hello.wadi.localhost", NextProtos: []string{proto}})
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		b, _ := io.ReadAll(c)
		_ = c.Close()
		if bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
			return
		}
	}
	t.Fatal("no request is served any more")
}

// Connections beyond the bound are closed where none is idle, upgraded connections count,
// and a server that shuts down does not wait for handshakes.
func TestServer_MaxConns(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.(interface{ Upgraded() }).Upgraded()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	})
	both(t, h, gateway.Limits{MaxConns: 2}, func(t *testing.T, l *listening, proto string) {
		up, other := dial(t, l.addr, proto), dial(t, l.addr, proto)
		for _, c := range []net.Conn{up, other} {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 101 {
				t.Fatalf("got %v, %v", res, err)
			}
		}
		third := dial(t, l.addr, "")
		_, _ = io.WriteString(third, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if b, _ := io.ReadAll(third); len(b) > 0 {
			t.Errorf("a third one got %q", b)
		}
		_ = up.Close()
		served(t, l.addr, proto)
		_ = other.Close()
		slow := dial(t, l.addr, "") // In its handshake, or before its request.
		if proto == "" {
			_ = slow.Close() // net/http waits five seconds for the first request of one.
		}
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		if proto == "" {
			return
		}
		_ = slow.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadAll(slow); err != nil && !isReset(err) {
			t.Errorf("one in its handshake is still open: %v", err)
		}
	})
}

// Malformed requests that only HTTP/2 can express: none reaches a service.
func TestServer_HTTP2(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s %s %s %q", r.Method, r.Host, r.RequestURI, b))
	})
	dir := t.TempDir()
	issue(t, 1, time.Hour, "hello.wadi.localhost").putPair(t, dir, "a")
	l := listen(t, h, loadCerts(t, dir), gateway.Limits{})
	usual := []string{":method", "POST", ":scheme", "https", ":authority", "h", ":path", "/a//b%2F;c?d"}
	for _, tt := range []struct {
		name   string
		fields []string
		body   string
		want   string // "" is a reset stream, else the status.
		sees   string
	}{
		{"usual", usual, "abc", "200", `POST h /a//b%2F;c?d "abc"`},
		{"length", append(usual[:8:8], "content-length", "3"), "abc", "200", `POST h /a//b%2F;c?d "abc"`},
		{"length too small", append(usual[:8:8], "content-length", "2"), "abc", "", ""},
		{"length too large", append(usual[:8:8], "content-length", "4"), "abc", "", ""},
		{"coding", append(usual[:8:8], "transfer-encoding", "chunked"), "abc", "", ""},
		{"connection", append(usual[:8:8], "connection", "close"), "abc", "", ""},
		{"upper case", append(usual[:8:8], "X-A", "b"), "", "", ""},
		{"two paths", append(usual[:8:8], ":path", "/x"), "", "", ""},
		{"pseudo after others", []string{":method", "GET", ":scheme", "https", ":authority", "h", "x", "y", ":path", "/"}, "", "", ""},
		{"no path", usual[:6], "", "", ""},
		{"path without a slash", []string{":method", "GET", ":scheme", "https", ":authority", "h", ":path", "x"}, "", "", ""},
		{"line end in a value", append(usual[:8:8], "x", "a\r\nb: c"), "", "", ""},
		{"space in the method", []string{":method", "GET / HTTP/1.1", ":scheme", "https", ":authority", "h", ":path", "/"}, "", "", ""},
		{"space in the path", []string{":method", "GET", ":scheme", "https", ":authority", "h", ":path", "/ HTTP/1.1"}, "", "", ""},
		{"fragment", []string{":method", "GET", ":scheme", "https", ":authority", "h", ":path", "/a#b"}, "", "", ""},
		{"asterisk", []string{":method", "OPTIONS", ":scheme", "https", ":authority", "h", ":path", "*"}, "", "200", `OPTIONS h * ""`},
		{"asterisk of GET", []string{":method", "GET", ":scheme", "https", ":authority", "h", ":path", "*"}, "", "", ""},
		{"CONNECT", []string{":method", "CONNECT", ":authority", "h:80"}, "", "400", ""},
		{"extended CONNECT", []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "h", ":path", "/"}, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen = nil
			got := askHTTP2(t, dial(t, l.addr, "h2"), tt.fields, tt.body)
			if got != tt.want && !(tt.want == "" && got == "400") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			mu.Lock()
			defer mu.Unlock()
			if s := strings.Join(seen, "; "); s != tt.sees {
				t.Errorf("a service saw %s, want %s", s, tt.sees)
			}
		})
	}
}

// askHTTP2 sends a request with these fields, and returns the status, or "" if the stream or
// the connection was reset.
func askHTTP2(t *testing.T, c net.Conn, fields []string, body string) string {
	t.Helper()
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = f.WriteSettings()
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		_ = f.WriteData(1, true, []byte(body))
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return ""
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return ""
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return ""
			}
		}
	}
}

// The gateway refuses the same requests as the queue-proxy.
func TestServer_RefusesMalformedHTTP2(t *testing.T) {
	var calls atomic.Int32
	l := listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }), nil, gateway.Limits{})
	for name, header := range proxytest.HTTP2Attacks() {
		a, err := proxytest.AskHTTP2(dial(t, l.addr, ""), header, "", nil)
		if !a.Reset && (a.Header[":status"] != "400" || a.Header["wadi-error"] != "malformed" && a.Header["wadi-error"] != "") {
			t.Errorf("%s: answered %v, %v", name, a, err)
		}
	}
	if n := calls.Load(); n > 0 || l.refused() == 0 {
		t.Errorf("%d of them were served, %d counted", n, l.refused())
	}
}
