//go:build e2e

package attacks_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// Clients that send a byte now and then, or take none of an answer, are cut off by every
// listener, however many they are, and nobody waits for them meanwhile.
func TestAttack_SlowClients(t *testing.T) {
	t.Parallel()
	target(t)
	const each = 20
	body := "PUT /v1/services HTTP/1.1\r\nHost: localhost\r\nX-Nomad-Token: " + alice + "\r\nContent-Length: 100000\r\n\r\n"
	var clients sync.WaitGroup
	for _, tt := range []struct{ name, addr, begin, drip string }{
		{"a slow header to the API", stack.Agent.API, "GET /v1/services HTTP/1.1\r\n", "X: y\r\n"},
		{"a slow header to the open API", open.API, "GET /v1/services HTTP/1.1\r\n", "X: y\r\n"},
		{"a slow header to the metrics listener", stack.Agent.Metrics, "GET /metrics HTTP/1.1\r\n", "X: y\r\n"},
		{"a slow header to the gateway", stack.Agent.Gateway, "GET / HTTP/1.1\r\n", "X: y\r\n"},
		{"a slow body to the API", stack.Agent.API, body, " "},
		{"a slow body to the open API", open.API, body, " "},
		{"a slow body to the metrics listener", stack.Agent.Metrics, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", " "},
	} {
		for range each {
			conn := raw(t, tt.addr)
			clients.Go(func() {
				if err := drips(conn, tt.begin, tt.drip); err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
			})
		}
	}
	clients.Go(func() {
		if err := takesNothing(t); err != nil {
			t.Errorf("a client that takes nothing: %v", err)
		}
	})
	for _, a := range []*harness.Agent{stack.Agent, open} {
		if res := ask(t, a, request{method: "GET", path: "/v1/services", header: []string{"X-Nomad-Token", bob}}); res.Status != http.StatusOK {
			t.Errorf("%s: meanwhile: got %d %s", a.Name, res.Status, res.Body)
		}
	}
	clients.Wait()
}

// drips sends a byte or a line every half second until the other side ends the connection.
func drips(conn net.Conn, begin, drip string) error {
	late := time.Now().Add(waitLong)
	_, err := io.WriteString(conn, begin)
	for err == nil && time.Now().Before(late) {
		_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 4096)); err != nil && !isTimeout(err) {
			return nil
		}
		_, err = io.WriteString(conn, drip)
	}
	if err == nil {
		return fmt.Errorf("the connection is still open")
	}
	return nil
}

func isTimeout(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}

// takesNothing asks for far more than the kernel buffers and reads none of it, until the
// agent ends the connection.
func takesNothing(t *testing.T) error {
	conn, err := net.Dial("tcp", stack.Agent.API)
	must(t, "dial", err)
	defer conn.Close()
	must(t, "shrink the buffer", conn.(*net.TCPConn).SetReadBuffer(4096))
	one := "GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
	late := time.Now().Add(waitLong)
	_ = conn.SetWriteDeadline(late)
	for time.Now().Before(late) {
		if _, err := io.WriteString(conn, strings.Repeat(one, 100)); err != nil {
			if isTimeout(err) {
				break
			}
			return nil
		}
	}
	return fmt.Errorf("the connection is still open")
}
