package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func rawApp(t *testing.T, serve func(n int, c net.Conn, in *bufio.Reader)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	return l.Addr().String()
}

// head reads the head of a request, and returns its lines.
func head(in *bufio.Reader) (lines []string, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return lines, nil
		}
		lines = append(lines, line)
	}
}

// answering is an app that answers each request with the same bytes, and closes
// the connection after the first one.
func answering(t *testing.T, answer string) (addr string) {
	return rawApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
		if _, err := head(in); err == nil {
			_, _ = io.WriteString(c, answer)
		}
	})
}

// roundTrip sends raw bytes and returns what comes back until the peer closes.
func roundTrip(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, request)
	got, _ := io.ReadAll(c)
	return string(got)
}

const plainGet = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, bufio.NewReader(c)
}

// wantAnswer reads an answer.
func wantAnswer(t *testing.T, in *bufio.Reader, status int, body string) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || string(got) != body {
		t.Fatalf("got %d %q, %v, want %d %q", res.StatusCode, got, err, status, body)
	}
	return res
}

func contains(lines []string, line string) bool {
	for _, l := range lines {
		if l == line {
			return true
		}
	}
	return false
}
