package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy"
)

// upgraded is a caller's connection to a handler that speaks another protocol, and
// what that handler has read when it ended.
type upgraded struct {
	net.Conn
	r    *bufio.Reader
	read chan string
}

// upgrade asks a server of u's for another protocol.
func upgrade(t *testing.T, u *proxy.Upgrades, protocol string) upgraded {
	t.Helper()
	read := make(chan string, 1)
	s := httptest.NewServer(u.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
		b, err := io.ReadAll(io.MultiReader(io.LimitReader(rw, int64(rw.Reader.Buffered())), conn))
		if err != nil {
			b = append(b, err.Error()...)
		}
		_, _ = io.WriteString(conn, "bye")
		read <- string(b)
	})))
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\nhello", protocol)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer %v, error %v", res, err)
	}
	return upgraded{conn, r, read}
}

// want fails the test if the caller does not get exactly text next.
func (c upgraded) want(t *testing.T, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != text {
		t.Errorf("got %q, error %v; want %q", got, err, text)
	}
}

func TestUpgrades_Leave(t *testing.T) {
	var u proxy.Upgrades
	socket, other := upgrade(t, &u, "websocket"), upgrade(t, &u, "other")
	u.Leave()
	socket.want(t, "\x88\x02\x03\xe9") // A close frame: going away.
	other.want(t, "bye")
	if got := <-other.read; got != "hello" {
		t.Errorf("the app read %q, want what came and then the end", got)
	}
	late := upgrade(t, &u, "websocket")
	late.want(t, "\x88\x02\x03\xe9")
	for _, c := range []upgraded{socket, late} {
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		if got := <-c.read; got != "hello" {
			t.Errorf("the app read %q", got)
		}
	}
}

// What asks for no other protocol is not even wrapped.
func TestUpgrades_OthersPass(t *testing.T) {
	var u proxy.Upgrades
	w := httptest.NewRecorder()
	u.Handler(http.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) {
		if got != http.ResponseWriter(w) {
			t.Errorf("the writer is a %T", got)
		}
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
}
