package framing_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/framing"
)

// listen serves h over TCP until the test ends.
func listen(t *testing.T, cfg framing.Config, h http.Handler) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(cfg.HTTP2)
	served := make(chan error, 1)
	go func() { served <- s.Serve(framing.Listen(l, cfg)) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// caller is a connection to addr.
func caller(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c, bufio.NewReader(c)
}

func say(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write(wire(s)); err != nil {
		t.Fatal(err)
	}
}

// hear reads an answer.
func hear(t *testing.T, r *bufio.Reader) (status int, body string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// echo upgrades to a protocol in which the server says what it gets, unless the
// request asks for none.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/upgrade" {
		_, _ = io.WriteString(w, r.URL.Path)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	conn.(interface{ Upgraded() }).Upgraded()
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	early := io.LimitReader(rw.Reader, int64(rw.Reader.Buffered()))
	_, _ = io.Copy(conn, early)
	_, _ = io.Copy(conn, conn)
}

const upgrade = " HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: echo\n\n"

func TestUpgrade(t *testing.T) {
	addr := listen(t, framing.Config{HTTP2: true}, http.HandlerFunc(echo))
	for name, early := range map[string]string{
		"nothing early": "", "a NUL early": "\x00", "an end of line early": "\rLF", "much early": "\x00\x01 not a request\n\n" + strings.Repeat("x", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // The server sometimes reads a byte that came early.
				upgradeAndEcho(t, addr, early)
			}
		})
	}
}

func upgradeAndEcho(t *testing.T, addr, early string) {
	t.Helper()
	c, r := caller(t, addr)
	defer c.Close()
	say(t, c, "GET /upgrade"+upgrade+early)
	if status, _ := hear(t, r); status != 101 {
		t.Fatalf("answered %d", status)
	}
	say(t, c, "Transfer-Encoding : what\x00ever\r")
	want := string(wire(early)) + "Transfer-Encoding : what\x00ever\r"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v", got, err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}
}

// A connection that was not upgraded goes on with requests, and they are checked.
func TestUpgrade_Declined(t *testing.T) {
	addr := listen(t, framing.Config{HTTP2: true}, http.HandlerFunc(echo))
	for _, together := range []bool{false, true} {
		c, r := caller(t, addr)
		parts := []string{"GET /a" + upgrade, "GET /b" + upgrade, "GET /c HTTP/1.1\nHost: h\n\n", "GET /d HTTP/1.1\nHost: h\n X: y\n\n" + smuggled}
		if together {
			say(t, c, strings.Join(parts, ""))
		}
		for i, want := range []string{"/a", "/b", "/c"} {
			if !together {
				say(t, c, parts[i])
			}
			if status, body := hear(t, r); status != 200 || body != want {
				t.Fatalf("together %v: got %d %q, want %q", together, status, body, want)
			}
		}
		if !together {
			say(t, c, parts[3])
		}
		if status, body := hear(t, r); status != 400 || !strings.Contains(body, framing.Fold.Text()) {
			t.Fatalf("together %v: got %d %q", together, status, body)
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("then %q, %v", rest, err)
		}
	}
}

// Whoever has sent much more than was read gets the refusal all the same.
func TestRefusal_Arrives(t *testing.T) {
	addr := listen(t, framing.Config{}, http.HandlerFunc(echo))
	for range 20 {
		c, r := caller(t, addr)
		say(t, c, "GET / HTTP/1.1\nHost: h\nX : y\n\n"+strings.Repeat(smuggled, 1000))
		if status, _ := hear(t, r); status != 400 {
			t.Fatalf("answered %d", status)
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Fatalf("then %q, %v", rest, err)
		}
	}
}

func TestHTTP2(t *testing.T) {
	addr := listen(t, framing.Config{HTTP2: true}, http.HandlerFunc(echo))
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return slowWriter{c}, err
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	for range 3 {
		res, err := (&http.Client{Transport: tr}).Get("http://" + addr + "/a")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.ProtoMajor != 2 || string(b) != "/a" {
			t.Errorf("got %q over %s", b, res.Proto)
		}
	}
}

// slowWriter sends every byte by itself.
type slowWriter struct{ net.Conn }

func (c slowWriter) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// A checked TCP connection keeps what net/http, and watchers of connections, need of it.
func TestConn_KeepsWhatATCPConnCan(t *testing.T) {
	var c net.Conn = framing.New(framing.Config{}).Conn(&net.TCPConn{})
	for name, ok := range map[string]bool{
		"io.ReaderFrom": is[io.ReaderFrom](c), "io.WriterTo": is[io.WriterTo](c), "syscall.Conn": is[syscall.Conn](c),
		"CloseWrite": is[interface{ CloseWrite() error }](c),
	} {
		if !ok {
			t.Errorf("it has no %s", name)
		}
	}
}

func is[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

func TestConn_AllocatesNothing(t *testing.T) {
	c := framing.New(framing.Config{}).Conn(&endless{what: smallHead, most: 4 << 10})
	buf := make([]byte, 4<<10)
	if got := testing.AllocsPerRun(1000, func() { _, _ = c.Read(buf) }); got != 0 {
		t.Errorf("%v allocations for a request", got)
	}
}
