package gateway_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/gateway"
)

// The slots come back, however connections end.
func TestServer_SlotsComeBack(t *testing.T) {
	const most = 10
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic(http.ErrAbortHandler)
		}
	})
	both(t, h, gateway.Limits{MaxConns: most}, func(t *testing.T, l *listening, proto string) {
		client := plainAndTLS["TLS"]
		if proto == "" {
			client = nil
		}
		var all sync.WaitGroup
		for i := range 10 * most {
			c := from(t, fmt.Sprintf("127.0.0.%d", 1+i%7), l.addr, client)
			all.Go(func() {
				switch i % 4 {
				case 0:
					_ = ask(c, "/panic")
				case 1:
					_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n")
					_, _ = io.Copy(io.Discard, c)
				case 2:
					_ = ask(c, "/")
				}
				_ = c.Close()
			})
		}
		all.Wait()
		// The server learns of each end later, and may do so after further ones came. A slot
		// that does not come back is missing each time.
		lost := -1
		for end := time.Now().Add(30 * time.Second); lost != 0 && time.Now().Before(end); {
			lost = most - hold(t, most, l.addr, client)
		}
		if lost != 0 {
			t.Errorf("%d of %d connections at a time are not served", lost, most)
		}
	})
}

// hold is how many of n connections at a time are served twice. It closes them.
func hold(t *testing.T, n int, addr string, client *tls.Config) (served int) {
	t.Helper()
	held := make([]net.Conn, n)
	for i := range held {
		held[i] = from(t, fmt.Sprintf("127.0.0.%d", 1+i), addr, client)
		_ = ask(held[i], "/")
	}
	for _, c := range held {
		if ask(c, "/") == http.StatusOK {
			served++
		}
	}
	for _, c := range held {
		_ = c.Close()
	}
	return served
}
