package queue_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

// wantOutcomes waits until the queue-proxy has counted the codes.
func (s *sidecar) wantOutcomes(want map[string]uint64) wadi.Outcomes {
	s.t.Helper()
	var got wadi.Outcomes
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		st, _ := s.stats("")
		if st.Outcomes == nil {
			s.t.Fatal("no outcomes")
		}
		if got = *st.Outcomes; cmp.Equal(want, got.Codes) || time.Now().After(end) {
			break
		}
	}
	if d := cmp.Diff(want, got.Codes); d != "" {
		s.t.Errorf("codes (-want +got):\n%s", d)
	}
	return got
}

// What callers got is counted: by HTTP's status, and without what is no answer to them.
func TestOutcomes_HTTP(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		switch code, err := strconv.Atoi(r.URL.Path[1:]); {
		case err == nil:
			w.WriteHeader(code)
		case r.URL.Path == "/break":
			w.Header().Set("Content-Length", "100000")
			_, _ = io.WriteString(w, strings.Repeat("x", 5000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/die":
			panic(http.ErrAbortHandler)
		}
	}, `WADI_QUIET=["/quiet"]`)
	for _, path := range []string{"/", "/", "/204", "/404", "/503", "/421", "/599", "/quiet"} {
		s.get(s.Addr(), path)
	}
	if res, err := http.Get("http://" + s.Addr() + "/break"); err == nil {
		_, _ = io.Copy(io.Discard, res.Body) // It breaks.
		res.Body.Close()
	}
	s.do(t.Context(), http.MethodPost, s.Addr(), "/die", "x")
	s.get(s.Addr(), "/", wadi.HeaderInstance, "another")
	s.get(s.Addr(), "/", wadi.HeaderProbe, "hello-00001")
	got := s.wantOutcomes(map[string]uint64{"200": 2, "204": 1, "404": 1, "503": 1, "421": 1, "599": 1, "502": 2})
	if n := got.Latency.Count(); n != 9 {
		t.Errorf("%d latencies, want 9", n)
	}
	if n := got.Errors(nil); n != 4 {
		t.Errorf("%d errors, want 4", n)
	}
	const of = `revision="hello-00001",service="hello"`
	for name, want := range map[string]string{
		`responses_total{class="2xx",` + of + `}`: "3", `responses_total{class="4xx",` + of + `}`: "2", `responses_total{class="5xx",` + of + `}`: "4",
		`response_start_duration_seconds_count{` + of + `}`: "9", `response_start_duration_seconds_bucket{` + of + `,le="300"}`: "9",
	} {
		if got := s.metric("wadi_queue_" + name); got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
}

// The latency is that of the answer's beginning: a stream, or a caller that reads slowly, is no
// slow answer. An upgraded connection is answered when it is upgraded.
func TestOutcomes_LatencyIsOfTheBeginning(t *testing.T) {
	release := make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-release
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
			<-release
			c.Close()
		}
	})
	began := time.Now()
	stream, err := http.Get("http://" + s.Addr() + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " 101 ") {
		t.Fatalf("%q, %v", line, err)
	}
	most := time.Since(began) // Until both were answered.
	time.Sleep(most + 100*time.Millisecond)
	close(release)
	_, _ = io.Copy(io.Discard, stream.Body)
	c.Close()
	got := s.wantOutcomes(map[string]uint64{"200": 1, "101": 1})
	if bucket := wadi.LatencyBounds()[wadi.LatencyBucket(most)]; got.Latency.Count() != 2 || got.Quantile(1) > bucket {
		t.Errorf("answered within %v, counted as %v", most, got.Quantile(1))
	}
}

// A late answer has its latency.
func TestOutcomes_LateAnswer(t *testing.T) {
	s := start(t, func(http.ResponseWriter, *http.Request) { time.Sleep(120 * time.Millisecond) })
	s.get(s.Addr(), "/")
	if got := s.wantOutcomes(map[string]uint64{"200": 1}); got.Quantile(0.5) < 100*time.Millisecond {
		t.Errorf("the answer took %v", got.Quantile(0.5))
	}
}

// A caller that leaves before the answer is no error of the revision; it counts with the time
// that it waited.
func TestOutcomes_CallerGone(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.do(ctx, http.MethodGet, s.Addr(), "/", "") }()
	g.next(t)
	leave()
	<-done
	got := s.wantOutcomes(map[string]uint64{"499": 1})
	close(g.leave)
	if got.Requests() != 0 || got.Errors(nil) != 0 || got.Latency.Count() != 1 {
		t.Errorf("%+v", got)
	}
}

// The queue-proxy's own refusals are what callers got, too.
func TestOutcomes_OwnRefusals(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_CONCURRENCY_LIMIT=1", "WADI_QUEUE_DEPTH=1", "WADI_TIMEOUT_REQUEST=2s")
	done := make(chan int, 2)
	call := func() { done <- s.get(s.Addr(), "/").StatusCode }
	go call()
	g.next(t)
	go call()
	eventually(t, "one waits", func() bool { return s.metric("wadi_queue_waiting_requests") == "1" })
	if got := s.get(s.Addr(), "/"); got.StatusCode != 503 {
		t.Fatalf("got %d, want 503", got.StatusCode)
	}
	if a, b := <-done, <-done; a != 504 || b != 504 {
		t.Errorf("got %d and %d, want 504", a, b)
	}
	close(g.leave)
	s.wantOutcomes(map[string]uint64{"503": 1, "504": 2})
}

// A gRPC call counts by gRPC's status, in trailers or in the header; a refusal of one by HTTP's.
func TestOutcomes_GRPC(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		switch r.URL.Path {
		case "/header":
			h.Set("Grpc-Status", "5")
		case "/announced":
			h.Set("Trailer", "Grpc-Status")
			_, _ = io.WriteString(w, "x")
			h.Set("Grpc-Status", "14")
		case "/unannounced":
			_, _ = io.WriteString(w, "x")
			h.Set(http.TrailerPrefix+"Grpc-Status", "0")
		case "/odd":
			_, _ = io.WriteString(w, "x")
			h.Set(http.TrailerPrefix+"Grpc-Status", "99")
		case "/none":
			_, _ = io.WriteString(w, "x")
		case "/403":
			w.WriteHeader(http.StatusForbidden)
		case "/break":
			panic(http.ErrAbortHandler)
		}
	}, "WADI_PROTOCOL=grpc")
	for _, path := range []string{"/header", "/announced", "/unannounced", "/odd", "/none", "/403", "/break"} {
		callGRPC(t, s.Addr(), path)
	}
	got := s.wantOutcomes(map[string]uint64{"grpc:5": 1, "grpc:14": 1, "grpc:0": 1, "grpc:2": 1, "grpc:13": 1, "403": 1, "502": 1})
	if n := got.Errors(nil); n != 4 {
		t.Errorf("%d errors, want those of 14, 2, 13 and 502", n)
	}
}

// callGRPC makes a call without a message, over HTTP/2.
func callGRPC(t *testing.T, addr, path string) {
	t.Helper()
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+path, strings.NewReader("\x00\x00\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	if res, err := tr.RoundTrip(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}
