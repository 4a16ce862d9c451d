package smuggling_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// app is a server on the level of bytes: it records what arrives, as a server would read
// it that trusts every word.
type app struct {
	addr string

	mu       sync.Mutex
	requests []string // Method, target and body of each whole request.
	begun    int      // All requests, broken off ones too.
	odd      []string // Input that is no request.
	open     sync.WaitGroup
}

func startApp(t *testing.T) *app {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{addr: l.Addr().String()}
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	a.open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			a.open.Go(func() {
				a.serve(c)
				mu.Lock()
				delete(conns, c)
				mu.Unlock()
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		a.open.Wait()
	})
	return a
}

// take returns what arrived since the last call.
func (a *app) take() (requests, odd []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	requests, odd = a.requests, a.odd
	a.requests, a.odd = nil, nil
	return requests, odd
}

// total is how many requests have begun.
func (a *app) total() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.begun
}

func (a *app) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *app) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if line != "" {
				a.note(func() { a.odd = append(a.odd, line) })
			}
			return
		}
		method, rest, _ := strings.Cut(line, " ")
		target, version, _ := strings.Cut(rest, " ")
		if version != "HTTP/1.1\r\n" {
			a.note(func() { a.odd = append(a.odd, line) })
			return
		}
		a.note(func() { a.begun++ })
		body, err := readRest(r)
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				a.note(func() { a.odd = append(a.odd, err.Error()) })
			}
			return
		}
		a.note(func() { a.requests = append(a.requests, method+" "+target+" "+strconv.Quote(body)) })
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// readRest reads headers and body. A request must state its length in exactly one way.
func readRest(r *bufio.Reader) (body string, err error) {
	length, chunked := -1, false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line, ok := strings.CutSuffix(line, "\r\n")
		if !ok || strings.ContainsAny(line, "\r\x00") || strings.HasPrefix(line, " ") {
			return "", fmt.Errorf("header line %q", line)
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return "", fmt.Errorf("header line %q", line)
		}
		switch strings.ToLower(strings.NewReplacer("_", "-", " ", "").Replace(name)) {
		case "content-length":
			n, err := strconv.Atoi(value)
			if err != nil || length >= 0 || chunked {
				return "", fmt.Errorf("length %q after %d", value, length)
			}
			length = n
		case "transfer-encoding":
			if value != "chunked" || length >= 0 || chunked {
				return "", fmt.Errorf("coding %q", value)
			}
			chunked = true
		}
		if strings.HasPrefix(strings.ToLower(name), "wadi") {
			return "", fmt.Errorf("header line %q", line)
		}
	}
	if !chunked {
		b := make([]byte, max(length, 0))
		_, err := io.ReadFull(r, b)
		return string(b), err
	}
	return readChunks(r)
}

func readChunks(r *bufio.Reader) (string, error) {
	var body strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", io.ErrUnexpectedEOF
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 31)
		if err != nil {
			return "", fmt.Errorf("chunk line %q", line)
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(&body, r, int64(n)); err != nil {
			return "", io.ErrUnexpectedEOF
		}
		if end, err := r.ReadString('\n'); err != nil || end != "\r\n" {
			return "", io.ErrUnexpectedEOF
		}
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", io.ErrUnexpectedEOF
		}
		if line == "\r\n" {
			return body.String(), nil
		}
	}
}
