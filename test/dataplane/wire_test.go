//go:build e2e

package dataplane_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// patience bounds the waits on one connection.
const patience = time.Minute

// wire is a connection to the gateway for requests written byte by byte.
type wire struct {
	net.Conn
	t    *testing.T
	host string
	r    *bufio.Reader
}

// dial connects to the gateway, for a service.
func dial(t *testing.T, service string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", stack.Agent.Gateway)
	must(t, "dial the gateway", err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, "set a deadline", c.SetDeadline(time.Now().Add(patience)))
	return &wire{Conn: c, t: t, host: service + "." + harness.Domain, r: bufio.NewReader(c)}
}

// say writes text; HOST stands for the service's host.
func (w *wire) say(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, strings.ReplaceAll(text, "HOST", w.host)); err != nil {
		w.t.Fatalf("write %.80q: %v", text, err)
	}
}

// ask writes a request without a body. Header is further lines of the head.
func (w *wire) ask(method, target string, header ...string) {
	w.t.Helper()
	w.say(head(method, target, header...))
}

func head(method, target string, header ...string) string {
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: HOST"}, header...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// answer reads the next head, including interim answers.
func (w *wire) answer(method string) *http.Response {
	w.t.Helper()
	res, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("read answer: %v", err)
	}
	return res
}

// body reads a whole body.
func (w *wire) body(res *http.Response) string {
	w.t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("read body: %v after %.200q", err, b)
	}
	return string(b)
}

// want reads an answer with its body and checks them; body "*" is any.
func (w *wire) want(method string, status int, body string) *http.Response {
	w.t.Helper()
	res := w.answer(method)
	got := w.body(res)
	if res.StatusCode != status || body != "*" && got != body {
		w.t.Fatalf("got %d %.300q, want %d %q; %v", res.StatusCode, got, status, body, res.Header)
	}
	return res
}

// line reads a line.
func (w *wire) line() string {
	w.t.Helper()
	s, err := w.r.ReadString('\n')
	if err != nil {
		w.t.Fatalf("read a line: %v after %q", err, s)
	}
	return strings.TrimRight(s, "\r\n")
}

// wantClosed reads to the end of the connection, which must be a clean one, and returns
// what was read.
func (w *wire) wantClosed() string {
	w.t.Helper()
	b, err := io.ReadAll(w.r)
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		w.t.Fatalf("the connection stays open after %q", b)
	}
	return string(b)
}

// chunk is text as a chunk of a body.
func chunk(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }
