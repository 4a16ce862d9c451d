package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// With a limit of one, the app sees one request at a time, whichever callers go and at
// whatever moment.
func TestTraffic_NeverTwoAtOnce(t *testing.T) {
	var in, served, overlaps atomic.Int64
	app := func(w http.ResponseWriter, r *http.Request) {
		if in.Add(1) != 1 {
			overlaps.Add(1)
		}
		defer served.Add(1)
		defer in.Add(-1)
		if r.Header.Get("Upgrade") != "" {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(conn, rw)
			in.Add(-1) // Before anything can notice the end.
			conn.Close()
			in.Add(1)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(time.Duration(rand.N(2000)) * time.Microsecond):
		case <-r.Context().Done():
		}
		io.WriteString(w, strings.Repeat("a", int(n)+1))
		if rand.N(4) == 0 {
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Duration(rand.N(500)) * time.Microsecond)
			io.WriteString(w, "b")
		}
	}
	s := start(t, app, "WADI_CONCURRENCY_LIMIT=1", "WADI_QUEUE_DEPTH=1000")
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range 40 {
				switch rand.N(5) {
				case 0:
					leaveUpgraded(s.Addr())
				case 1:
					ask(t.Context(), client, s.Addr(), time.Duration(rand.N(20))*time.Millisecond)
				default:
					ask(t.Context(), client, s.Addr(), time.Minute)
				}
			}
		})
	}
	callers.Wait()
	eventually(t, "idle", func() bool {
		return s.metric("wadi_queue_in_flight_requests") == "0" && s.metric("wadi_queue_waiting_requests") == "0"
	})
	if overlaps.Load() > 0 || served.Load() < 100 {
		t.Errorf("of %d requests %d came while the app had another one", served.Load(), overlaps.Load())
	}
}

// ask sends a request with a body, and goes after a time.
func ask(ctx context.Context, client *http.Client, addr string, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", strings.NewReader(strings.Repeat("x", rand.N(100_000))))
	if rand.N(2) == 0 {
		r, _ = http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	}
	if res, err := client.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// leaveUpgraded upgrades, talks, and closes its connection in one of two ways.
func leaveUpgraded(addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	answers := bufio.NewReader(conn)
	if res, err := http.ReadResponse(answers, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		return
	}
	fmt.Fprintln(conn, "hello")
	_, _ = answers.ReadString('\n')
	if rand.N(2) == 0 {
		_ = conn.(*net.TCPConn).SetLinger(0) // By a reset.
	}
}
