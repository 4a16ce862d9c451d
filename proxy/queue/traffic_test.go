package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

func TestTraffic_AppSeesNoInternalHeader(t *testing.T) {
	var got http.Header
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.Header().Set(wadi.HeaderInstance, "an app must not say this")
	})
	a := s.get(s.Addr(), "/", wadi.HeaderService, "hello", wadi.HeaderRevision, "hello-00001",
		wadi.HeaderInstance, "alloc", wadi.HeaderProxied, "1", wadi.HeaderTag, "canary", "User-Agent", "")
	want := http.Header{"Wadi-Tag": {"canary"}, "Accept-Encoding": {"gzip"}, "Connection": nil}
	got.Del("Connection")
	delete(want, "Connection")
	if diff := cmp.Diff(want, got); diff != "" || a.StatusCode != 200 {
		t.Errorf("status %d, headers (-want +got):\n%s", a.StatusCode, diff)
	}
	if a.Header.Get(wadi.HeaderInstance) != "" {
		t.Errorf("answer %v", a.Header)
	}
}

func TestTraffic_WhoIsMeant(t *testing.T) {
	var calls atomic.Int64
	s := start(t, func(w http.ResponseWriter, r *http.Request) { calls.Add(1) })
	for _, tt := range []struct {
		header []string
		want   int
	}{
		{nil, 200},
		{[]string{wadi.HeaderService, "hello", wadi.HeaderRevision, "hello-00001"}, 200},
		{[]string{wadi.HeaderInstance, "alloc"}, 200},
		{[]string{wadi.HeaderService, "other"}, 421},
		{[]string{wadi.HeaderRevision, "hello-00002"}, 421},
		{[]string{wadi.HeaderRevision, "hello-00001", wadi.HeaderInstance, "other"}, 421},
		{[]string{wadi.HeaderProbe, "hello-00001"}, 200},
		{[]string{wadi.HeaderProbe, "hello-00001", wadi.HeaderInstance, "alloc"}, 200},
		{[]string{wadi.HeaderProbe, "hello-00001", wadi.HeaderInstance, "other"}, 421},
		{[]string{wadi.HeaderProbe, "hello-00002"}, 421},
	} {
		before := calls.Load()
		a := s.get(s.Addr(), "/", tt.header...)
		if a.StatusCode != tt.want {
			t.Errorf("%v: %d, want %d", tt.header, a.StatusCode, tt.want)
		}
		probe := len(tt.header) > 0 && tt.header[0] == wadi.HeaderProbe
		if seen := calls.Load() > before; seen != (tt.want == 200 && !probe) {
			t.Errorf("%v: app saw it: %v", tt.header, seen)
		}
		if probe && (a.Header.Get(wadi.HeaderRevision) != "hello-00001" || a.Header.Get(wadi.HeaderInstance) != "alloc") {
			t.Errorf("%v: the answer names %v", tt.header, a.Header)
		}
	}
	if _, begun := s.stats("since=0"); begun == nil {
		t.Error("no statistics")
	}
	if got := s.metric(`wadi_queue_refusals_total{reason="misdirected"}`); got != "3" {
		t.Errorf("%s misdirected, want 3", got)
	}
	if got := s.metric(`wadi_queue_requests_total{class="2xx"}`); got != "3" {
		t.Errorf("%s requests, want 3: probes don't count", got)
	}
}

// An activator must be able to distinguish an app's own 421 from the queue-proxy's.
func TestTraffic_OwnMisdirected(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusMisdirectedRequest) })
	if a := s.get(s.Addr(), "/"); a.StatusCode != 421 || a.Header.Get(wadi.HeaderInstance) != "alloc" {
		t.Errorf("the app's: %d %v", a.StatusCode, a.Header)
	}
	if a := s.get(s.Addr(), "/", wadi.HeaderInstance, "other"); a.StatusCode != 421 || a.Header.Get(wadi.HeaderInstance) != "" {
		t.Errorf("the queue-proxy's: %d %v", a.StatusCode, a.Header)
	}
}

func TestTraffic_LimitAndOrder(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_CONCURRENCY_LIMIT=1", "WADI_QUEUE_DEPTH=3")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if a := s.get(s.Addr(), fmt.Sprint("/", i)); a.text != "done" {
				t.Errorf("%d: %d %q", i, a.StatusCode, a.text)
			}
		})
		want := fmt.Sprint(i)
		eventually(t, "waiting", func() bool {
			return s.metric("wadi_queue_in_flight_requests") == "1" && s.metric("wadi_queue_waiting_requests") == want
		})
	}
	if a := s.get(s.Addr(), "/full"); a.StatusCode != 503 || a.Header.Get("Retry-After") != "1" {
		t.Errorf("full: %d %v", a.StatusCode, a.Header)
	}
	for i := range 4 {
		if got, want := g.next(t), fmt.Sprint("/", i); got != want {
			t.Errorf("served %s, want %s", got, want)
		}
		select {
		case path := <-g.entered:
			t.Errorf("%s came in beside another", path)
		default:
		}
		g.leave <- struct{}{}
	}
	wg.Wait()
}

func TestTraffic_WithoutLimitInFlightIsBounded(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_MAX_IN_FLIGHT=1")
	go s.get(s.Addr(), "/first")
	g.next(t)
	if a := s.get(s.Addr(), "/"); a.StatusCode != 503 || a.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %v, want 503", a.StatusCode, a.Header)
	}
	g.leave <- struct{}{}
}

func TestTraffic_ClientGoneFreesItsPlace(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_CONCURRENCY_LIMIT=1", "WADI_QUEUE_DEPTH=1")
	inApp, leaveApp := context.WithCancel(t.Context())
	go s.do(inApp, http.MethodGet, s.Addr(), "/in", "")
	g.next(t)
	waiting, leaveQueue := context.WithCancel(t.Context())
	go s.do(waiting, http.MethodGet, s.Addr(), "/waiting", "")
	eventually(t, "waiting", func() bool { return s.metric("wadi_queue_waiting_requests") == "1" })
	leaveQueue()
	eventually(t, "gone", func() bool { return s.metric("wadi_queue_waiting_requests") == "0" })
	leaveApp()
	eventually(t, "idle", func() bool { return s.metric("wadi_queue_in_flight_requests") == "0" })
	go s.get(s.Addr(), "/next")
	if got := g.next(t); got != "/next" {
		t.Errorf("%s came in", got)
	}
	close(g.leave)
}

func TestTraffic_Timeouts(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_TIMEOUT_REQUEST=200ms", "WADI_CONCURRENCY_LIMIT=1")
	answers := make(chan answer)
	for range 2 { // One in the app, one in the queue.
		go func() { answers <- s.get(s.Addr(), "/") }()
	}
	for range 2 {
		if a := <-answers; a.StatusCode != 504 || a.text != "request timeout\n" {
			t.Errorf("%d %q", a.StatusCode, a.text)
		}
	}
	eventually(t, "idle", func() bool { return s.metric("wadi_queue_in_flight_requests") == "0" })
}

func TestTraffic_HeldUntilTheAppIsReady(t *testing.T) {
	target := freeAddr(t)
	s := startUnready(t, target)
	answers := make(chan answer)
	go func() { answers <- s.get(s.Addr(), "/") }()
	eventually(t, "awaiting the app", func() bool { return strings.Contains(s.get(s.AdminAddr(), "/v1/admin/dump").text, `"awaiting_app"`) })
	if a := s.get(s.Addr(), "/", wadi.HeaderProbe, "hello-00001"); a.StatusCode != 503 || a.Header.Get(wadi.HeaderInstance) != "alloc" {
		t.Errorf("probe while not ready: %d %v", a.StatusCode, a.Header)
	}
	if a := s.get(s.MetricsAddr(), "/ready"); a.StatusCode != 503 {
		t.Errorf("/ready: %d", a.StatusCode)
	}
	l, err := net.Listen("tcp", target)
	if err != nil {
		t.Skipf("another process took the port: %v", err)
	}
	app := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // Otherwise the next request could be sent over it while the app ends, and not be repeated.
		io.WriteString(w, "up")
	})}
	go app.Serve(l)
	if a := <-answers; a.text != "up" {
		t.Errorf("%d %q", a.StatusCode, a.text)
	}
	app.Close()
	// The app has died, which is not known yet: a request that it can't have seen waits, too.
	go func() { answers <- s.do(t.Context(), http.MethodPost, s.Addr(), "/", "whole") }()
	eventually(t, "awaiting the app", func() bool { return strings.Contains(s.get(s.AdminAddr(), "/v1/admin/dump").text, `"awaiting_app"`) })
	if a := s.get(s.MetricsAddr(), "/ready"); a.StatusCode != 503 {
		t.Errorf("/ready with the app gone: %d", a.StatusCode)
	}
	if l, err = net.Listen("tcp", target); err != nil {
		t.Skipf("another process took the port: %v", err)
	}
	app = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })}
	go app.Serve(l)
	defer app.Close()
	if a := <-answers; a.text != "whole" {
		t.Errorf("%d %q", a.StatusCode, a.text)
	}
}

func TestTraffic_HugeHeader(t *testing.T) {
	s := start(t, func(http.ResponseWriter, *http.Request) { t.Error("the app saw it") })
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A body without an end: the server must not wait for it.
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nX-Huge: "+strings.Repeat("x", 69<<10))
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != 431 {
		t.Errorf("%+v, %v, want 431", res, err)
	}
}

func TestTraffic_HTTP2(t *testing.T) {
	for _, protocol := range []string{"h2c", "grpc"} {
		s := start(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "Grpc-Status")
			rc := http.NewResponseController(w)
			_ = rc.Flush()
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				fmt.Fprintf(w, "%s %s\n", r.Proto, lines.Text())
				_ = rc.Flush()
			}
			w.Header().Set("Grpc-Status", "0")
		}, "WADI_PROTOCOL="+protocol)
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		tr := &http.Transport{Protocols: &p}
		defer tr.CloseIdleConnections()
		body, send := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr(), body)
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answers := bufio.NewReader(res.Body)
		for _, line := range []string{"a", "b"} {
			fmt.Fprintln(send, line)
			if got, err := answers.ReadString('\n'); got != "HTTP/2.0 "+line+"\n" {
				t.Fatalf("%s: %q, %v", protocol, got, err)
			}
		}
		send.Close()
		if _, err := io.ReadAll(answers); err != nil || res.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("%s: trailers %v, %v", protocol, res.Trailer, err)
		}
	}
}

func TestTraffic_Statistics(t *testing.T) {
	g := newGate()
	const proof = wadi.Proof("only agents know it")
	s := start(t, g.ServeHTTP, `WADI_QUIET=["/healthz"]`, "WADI_PROOF_SHA256="+proof.Digest())
	go s.get(s.Addr(), "/healthz")
	g.next(t)
	go s.get(s.Addr(), "/a", wadi.HeaderProxied, string(proof))
	go s.get(s.Addr(), "/b", wadi.HeaderProxied, "1")
	g.next(t)
	g.next(t)
	asked := time.Now()
	st, header := s.stats("since=0&wait=2m")
	if took := time.Since(asked); took > time.Minute || header.Get("Wadi-Ready") != "true" {
		t.Errorf("answered after %v with %v", took, header)
	}
	if st.Source != "alloc" || st.Boot == "" || st.Revision != "hello-00001" || len(st.Samples) == 0 {
		t.Fatalf("statistics %+v", st)
	}
	begun := func(st wadi.Stats) (all, proxied int) {
		for _, sample := range st.Samples {
			all, proxied = all+int(sample.Begun), proxied+int(sample.BegunProxied)
		}
		return all, proxied
	}
	all, proxied := begun(st)
	for all < 2 && len(st.Samples) > 0 { // The second request began in the next second, or later.
		st, _ = s.stats(fmt.Sprintf("since=%d&wait=2m", st.Now))
		more, moreProxied := begun(st)
		all, proxied = all+more, proxied+moreProxied
	}
	last := st.Samples[len(st.Samples)-1]
	if all != 2 || proxied != 1 || last.Concurrency <= 0 || last.Concurrency <= last.ConcurrencyProxied {
		t.Errorf("%d begun, %d of them proxied, want 2 and 1; the last sample is %+v", all, proxied, last)
	}
	next, _ := s.stats(fmt.Sprintf("since=%d&wait=2m", st.Now))
	if got := next.Samples[0]; got.Concurrency != 2 || got.ConcurrencyProxied != 1 || got.Begun != 0 {
		t.Errorf("a whole second of two: %+v", got)
	}
	close(g.leave)
	eventually(t, "idle", func() bool { return s.metric("wadi_queue_in_flight_requests") == "0" })
}

func TestTraffic_AccessLog(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }, "WADI_ACCESS_LOG=true")
	s.do(t.Context(), http.MethodPost, s.Addr(), "/a%0a?secret=1", "abc")
	eventually(t, "logged", func() bool { return strings.Contains(s.out.String(), "\n") })
	line := s.out.String()
	for _, want := range []string{`"path":"/a%0a","protocol":"HTTP/1.1","status":200,"bytes_in":3,"bytes_out":5,`, `"revision":"`} {
		if !strings.Contains(line, want) || strings.Contains(line, "secret") {
			t.Errorf("line %s, want %s in it", line, want)
		}
	}
}

// The queue-proxy's own answers are logged and counted by their kind.
func TestTraffic_OwnAnswersAreSeen(t *testing.T) {
	s := start(t, http.NotFound, "WADI_ACCESS_LOG=true")
	s.get(s.Addr(), "/a", wadi.HeaderProbe, "hello-00001")
	s.get(s.Addr(), "/b", wadi.HeaderProbe, "hello-00002")
	s.get(s.Addr(), "/c", wadi.HeaderRevision, "hello-00002")
	eventually(t, "logged", func() bool { return strings.Count(s.out.String(), "\n") == 3 })
	for i, line := range strings.Split(strings.TrimSpace(s.out.String()), "\n") {
		want := [][]string{{`"path":"/a"`, `"status":200`, `"kind":"probe"`}, {`"path":"/b"`, `"status":421`, `"kind":"probe"`},
			{`"path":"/c"`, `"status":421`, `"error":"misdirected"`}}[i]
		for _, want := range want {
			if !strings.Contains(line, want) {
				t.Errorf("line %s, want %s in it", line, want)
			}
		}
	}
	for name, want := range map[string]string{
		`wadi_queue_probes_total{result="ready"}`: "1", `wadi_queue_probes_total{result="misdirected"}`: "1", `wadi_queue_probes_total{result="not_ready"}`: "0",
		`wadi_queue_requests_total{class="4xx"}`: "1", `wadi_queue_requests_total{class="2xx"}`: "0", `wadi_queue_refusals_total{reason="misdirected"}`: "1",
	} {
		if got := s.metric(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
