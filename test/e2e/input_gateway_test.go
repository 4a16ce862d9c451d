//go:build e2e

package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// dial opens a connection that is closed with the test, and has a deadline.
func dial(t *testing.T, addr string, within time.Duration) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	return c
}

// raw sends bytes and returns the answers, both unchanged.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	c := dial(t, addr, 15*time.Second)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil && len(answer) == 0 {
		t.Fatalf("read the answer: %v", err)
	}
	return string(answer)
}

// memoryOf is the agent's resident memory, in bytes.
func memoryOf(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", stack.Agent.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func TestInput_UnknownHost(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"nosuch." + harness.Domain, harness.Domain, "127.0.0.1", "a.b." + harness.Domain, "example.com:99"} {
		res := raw(t, stack.Agent.Gateway, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		if name, _, _ := strings.Cut(host, ":"); !strings.HasPrefix(res, "HTTP/1.1 404 ") || !strings.Contains(res, name) {
			t.Errorf("host %s: got %q, want 404 with the host's name", host, res)
		}
	}
	res := raw(t, stack.Agent.Gateway, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(res, "HTTP/1.1 400 ") {
		t.Errorf("no host: got %q, want 400", res)
	}
}

func TestInput_HugeHeader(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("heady", options{window: "60s"}))
	host := "Host: heady." + harness.Domain + "\r\n"
	large := strings.Repeat("x", 1<<20)
	for name, request := range map[string]string{
		"value": "GET / HTTP/1.1\r\n" + host + "X-Large: " + large + "\r\n\r\n",
		"many":  "GET / HTTP/1.1\r\n" + host + strings.Repeat("X-Many: 0123456789\r\n", 20_000) + "\r\n",
		"line":  "GET /" + large + " HTTP/1.1\r\n" + host + "\r\n",
	} {
		c := dial(t, stack.Agent.Gateway, 15*time.Second)
		go func() { _, _ = io.WriteString(c, request) }() // The server may close before it has all.
		line, err := bufio.NewReader(c).ReadString('\n')
		if !strings.HasPrefix(line, "HTTP/1.1 431 ") {
			t.Errorf("%s: got %q (%v), want 431", name, line, err)
		}
	}
	harnesstest.WantStatus(t, stack.Get(t, "heady", "/"), 200)
}

// Endless bodies for an app that does not read do not affect other requests: they are
// stopped at their source and cost no memory.
func TestInput_EndlessBody(t *testing.T) {
	stack.Deploy(t, hello("deaf", options{window: "60s"}))
	harnesstest.WantStatus(t, stack.Get(t, "deaf", "/"), 200)
	before := memoryOf(t)
	var sent atomic.Int64
	var wg sync.WaitGroup
	chunk := "10000\r\n" + strings.Repeat("x", 0x10000) + "\r\n"
	for range 8 {
		c := dial(t, stack.Agent.Gateway, 5*time.Second) // Its deadline.
		wg.Go(func() {
			_, err := fmt.Fprintf(c, "POST /?sleep=7s HTTP/1.1\r\nHost: deaf.%s\r\nTransfer-Encoding: chunked\r\n\r\n", harness.Domain)
			for err == nil {
				var n int
				n, err = io.WriteString(c, chunk)
				sent.Add(int64(n))
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v after %d bytes, want the sender to be held up", err, sent.Load())
			}
		})
	}
	wg.Wait()
	grown := memoryOf(t) - before
	t.Logf("sent %d KiB on 8 connections; the agent grew by %d KiB", sent.Load()>>10, grown>>10)
	if sent.Load() > 8*64<<20 { // The kernel's buffers of three connections in a row.
		t.Errorf("got %d bytes taken for an app that reads none", sent.Load())
	}
	if grown > 48<<20 {
		t.Errorf("got the agent grown by %d bytes, want a bound", grown)
	}
	harnesstest.WantStatus(t, stack.Get(t, "deaf", "/"), 200)
}

// An endless header is not waited for.
func TestInput_SlowHeader(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]string{"gateway": stack.Agent.Gateway, "API": stack.Agent.API, "metrics": stack.Agent.Metrics} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, addr, 60*time.Second)
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n"); err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				tick := time.NewTicker(time.Second)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						_, _ = io.WriteString(c, "X-Slow: 1\r\n")
					}
				}
			}()
			_, err := io.Copy(io.Discard, c)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("got the connection open after a minute, want it closed")
			}
		})
	}
}

// A request that two parsers could frame differently never passes.
func TestInput_Smuggling(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("smuggled", options{window: "60s"}))
	host := "Host: smuggled." + harness.Domain + "\r\n"
	inside := "GET /?status=299 HTTP/1.1\r\n" + host + "\r\n"
	for _, tt := range []struct{ name, request string }{
		{"two lengths", "POST / HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s", len(inside), inside)},
		{"unknown coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inside},
		{"two codings", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + inside},
		{"space before the colon", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inside},
		{"two hosts", "GET / HTTP/1.1\r\n" + host + "Host: other." + harness.Domain + "\r\n\r\n" + inside},
		{"bad chunk", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" + inside},
		{"negative length", "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n" + inside},
		{"length and chunks", "POST / HTTP/1.1\r\n" + host +
			fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n%s", 13+len(inside), inside)},
		{"line feed in a header", "GET / HTTP/1.1\r\n" + host + "X-A: b\rWadi-Revision: smuggled-00001\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, stack.Agent.Gateway, 3*time.Second)
			if _, err := io.WriteString(c, tt.request); err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(c) // Until it is closed, or for a while.
			answer := string(b)
			if strings.Contains(answer, " 299") {
				t.Errorf("the inner request was answered:\n%s", answer)
			}
			if !strings.HasPrefix(answer, "HTTP/1.1 400 ") && !strings.HasPrefix(answer, "HTTP/1.1 501 ") {
				t.Errorf("got %.200q, want 400 or 501", answer)
			}
		})
	}
	harnesstest.WantStatus(t, stack.Get(t, "smuggled", "/"), 200)
}

// Garbage does not harm any listener.
func TestInput_Garbage(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("calm", options{window: "60s"}))
	const seed = 42
	random := rand.New(rand.NewSource(seed))
	pieces := []string{
		"GET", "PUT", "BREW", " ", "/", "/v1/services", "/v1/service/", "%00", "%ff%fe", "..", "\r\n", "\n", "\x00", " HTTP/1.1", " HTTP/9.9",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Host: localhost", "Host: calm." + harness.Domain, "Content-Length: 99999999999999999999",
		"Content-Length: 10", "Transfer-Encoding: chunked", "{\"files\": [", "\xff\xfe\xfd", strings.Repeat("A", 9000), "\x16\x03\x01\x02\x00\x01", ":", "?index=x&wait=y",
	}
	for i := range 30 {
		var b strings.Builder
		if i%3 > 0 { // Begins like a request.
			b.WriteString([]string{"GET", "PUT", "DELETE", "POST"}[random.Intn(4)] + " /v1/" + []string{"services", "service/x", "events", "stats", "revision/"}[random.Intn(5)])
		}
		for range 1 + random.Intn(12) {
			b.WriteString(pieces[random.Intn(len(pieces))])
		}
		for _, addr := range []string{stack.Agent.API, stack.Agent.Metrics, stack.Agent.Gateway} {
			c := dial(t, addr, 100*time.Millisecond)
			_, _ = io.WriteString(c, b.String())
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}
	if err := stack.Agent.Client.Health(t.Context()); err != nil {
		t.Errorf("health after garbage: %v", err)
	}
	res, err := http.Get("http://" + stack.Agent.Metrics + "/metrics")
	if err != nil || res.StatusCode != 200 {
		t.Errorf("metrics after garbage: got %+v, %v", res, err)
	} else {
		_, _ = bodyOf(res)
	}
	harnesstest.WantStatus(t, stack.Get(t, "calm", "/"), 200)
	// The autoscaler's "panic" is not meant here.
	if log := stack.Agent.Tail(100_000); strings.Contains(log, "panic serving") || strings.Contains(log, "panic: ") || strings.Contains(log, "goroutine ") {
		t.Errorf("got a panic in the agent's log")
	}
}
