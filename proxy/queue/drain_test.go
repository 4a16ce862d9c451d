package queue_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

func TestDrain_IdleIsQuick(t *testing.T) {
	s := start(t, func(http.ResponseWriter, *http.Request) {})
	begun := time.Now()
	s.stop()
	if err := s.ended(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took >= 10*time.Second { // Time in which a busy drain settles.
		t.Errorf("took %v", took)
	}
}

func TestDrain_FinishesWhatIsInFlightAndServesLatecomers(t *testing.T) {
	t.Parallel()
	g := newGate()
	s := startSettling(t, settleLate, g.ServeHTTP)
	first := make(chan answer, 1)
	go func() { first <- s.get(s.Addr(), "/first") }()
	g.next(t)
	s.stop()
	eventually(t, "draining", func() bool { return s.get(s.MetricsAddr(), "/ready").StatusCode == 503 })
	late := make(chan answer, 1)
	go func() { late <- s.get(s.Addr(), "/late") }()
	g.next(t)
	if a := s.get(s.Addr(), "/", wadi.HeaderProbe, "hello-00001"); a.StatusCode != 503 {
		t.Errorf("probe: %d", a.StatusCode)
	}
	if _, h := s.stats("since=0"); h.Get("Wadi-Ready") != "false" {
		t.Errorf("statistics say %v", h)
	}
	close(g.leave)
	for _, c := range []chan answer{first, late} {
		if a := <-c; a.text != "done" {
			t.Errorf("%d %q", a.StatusCode, a.text)
		}
	}
	if err := s.ended(); err != nil {
		t.Error(err)
	}
}

// A watcher of an idle instance learns at once that it is not ready any more.
func TestDrain_EndsAWaitingPoll(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, `WADI_QUIET=["/quiet"]`)
	go s.get(s.Addr(), "/quiet") // Delays the end of the drain, and is not counted.
	g.next(t)
	polls := make(chan string, 100)
	go func() {
		defer close(polls)
		for ready, since := "true", int64(0); ready == "true"; {
			st, h := s.stats(fmt.Sprintf("since=%d&wait=2m", since))
			ready, since = h.Get("Wadi-Ready"), st.Now
			polls <- ready
		}
	}()
	<-polls // It knows of the app's readiness, and waits.
	begun := time.Now()
	s.stop()
	last := ""
	for ready := range polls {
		last = ready
	}
	if took := time.Since(begun); last != "false" || took > time.Minute {
		t.Errorf("got %q after %v", last, took)
	}
	close(g.leave)
}

func TestDrain_AnswersCloseTheirConnection(t *testing.T) {
	t.Parallel()
	s := startSettling(t, settleLate, func(http.ResponseWriter, *http.Request) {})
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.stop()
	eventually(t, "draining", func() bool { return s.get(s.MetricsAddr(), "/ready").StatusCode == 503 })
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 200 || !res.Close {
		t.Errorf("answer %+v, %v, want 200 and its connection closed", res, err)
	}
}

func TestDrain_IsBounded(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_DRAIN_TIMEOUT=100ms")
	first := make(chan answer, 1)
	go func() { first <- s.get(s.Addr(), "/") }()
	g.next(t)
	s.stop()
	if err := s.ended(); err != nil {
		t.Error(err)
	}
	if a := <-first; a.StatusCode == 200 {
		t.Errorf("%d %q, want a broken connection", a.StatusCode, a.text)
	}
}

// A request that waits for an app which never starts must not delay the end.
func TestDrain_RefusesWhatIsHeld(t *testing.T) {
	s := startUnready(t, freeAddr(t))
	first := make(chan answer, 1)
	go func() { first <- s.get(s.Addr(), "/") }()
	eventually(t, "awaiting the app", func() bool { return strings.Contains(s.get(s.AdminAddr(), "/v1/admin/dump").text, `"awaiting_app"`) })
	s.stop()
	if a := <-first; a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %q", a.StatusCode, a.text)
	}
	if err := s.ended(); err != nil {
		t.Error(err)
	}
}

// An activator and a caller's Envoy can send elsewhere what no app has seen.
func TestDrain_TurnsAwayWhatIsHeld(t *testing.T) {
	for name, headers := range map[string][]string{
		"of a caller's Envoy": {wadi.HeaderService, "hello", wadi.HeaderRevision, "hello-00001"},
		"of an activator": {wadi.HeaderService, "hello", wadi.HeaderRevision, "hello-00001",
			wadi.HeaderInstance, "alloc", wadi.HeaderProxied, "1"},
		"gRPC": {wadi.HeaderService, "hello", "Content-Type", "application/grpc"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startUnready(t, freeAddr(t))
			first := make(chan answer, 1)
			go func() { first <- s.get(s.Addr(), "/", headers...) }()
			eventually(t, "awaiting the app", func() bool { return strings.Contains(s.get(s.AdminAddr(), "/v1/admin/dump").text, `"awaiting_app"`) })
			s.stop()
			if a := <-first; a.StatusCode != 421 || a.Header.Get(wadi.HeaderInstance) != "" || a.Header.Get(wadi.HeaderError) != "draining" {
				t.Errorf("%d %v %q, want 421 that is not the app's", a.StatusCode, a.Header, a.text)
			}
			if err := s.ended(); err != nil {
				t.Error(err)
			}
		})
	}
}

// An activator need not wait until a drain has settled.
func TestDrain_TurnsActivatorsAwayAtOnce(t *testing.T) {
	const proof = wadi.Proof("only agents know it")
	s := run(t, time.Hour, freeAddr(t), "WADI_DRAIN_TIMEOUT=4h", "WADI_PROOF_SHA256="+proof.Digest())
	first := make(chan answer, 1)
	go func() {
		first <- s.get(s.Addr(), "/", wadi.HeaderService, "hello", wadi.HeaderInstance, "alloc", wadi.HeaderProxied, string(proof))
	}()
	eventually(t, "awaiting the app", func() bool { return strings.Contains(s.get(s.AdminAddr(), "/v1/admin/dump").text, `"awaiting_app"`) })
	s.stop()
	if a := <-first; a.StatusCode != 421 { // The drain settles in 10 s.
		t.Errorf("%d %q, want 421", a.StatusCode, a.text)
	}
	if got := s.get(s.MetricsAddr(), "/ready"); got.StatusCode != 503 {
		t.Errorf("%d, want an instance that still drains", got.StatusCode)
	}
}

// upgrade upgrades a connection to protocol through s, and returns the caller's end of it.
func (s *sidecar) upgrade(protocol string) (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	answers := bufio.NewReader(conn)
	if res, err := http.ReadResponse(answers, nil); err != nil || res.StatusCode != 101 {
		s.t.Fatalf("answer %+v, %v", res, err)
	}
	return conn, answers
}

// upgrading is an app that upgrades and then talks.
func upgrading(t *testing.T, talk func(net.Conn, *bufio.Reader)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		talk(conn, rw.Reader)
	}
}

// An upgraded app sees the end of its input, and the drain waits for its last output.
func TestDrain_TellsAnUpgradedApp(t *testing.T) {
	last := make(chan struct{})
	s := start(t, upgrading(t, func(conn net.Conn, in *bufio.Reader) {
		all, err := io.ReadAll(in)
		<-last
		fmt.Fprintf(conn, "heard %q, %v\n", all, err)
	}), "WADI_TIMEOUT_REQUEST=5m")
	conn, answers := s.upgrade("echo")
	io.WriteString(conn, "hello")
	eventually(t, "forwarded", func() bool { return strings.Contains(s.get(s.AdminAddr(), "/v1/admin/dump").text, `"forwarded"`) })
	time.Sleep(50 * time.Millisecond) // "hello" is to reach the app before the drain ends its input.
	s.stop()
	eventually(t, "closed to newcomers", func() bool {
		c, err := net.Dial("tcp", s.Addr())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-s.done:
		t.Fatalf("ended with %v while the app is busy", err)
	default:
	}
	close(last)
	if got, err := io.ReadAll(answers); err != nil || string(got) != "heard \"hello\", <nil>\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := s.ended(); err != nil {
		t.Error(err)
	}
}

// The caller of a WebSocket gets a close frame between two frames of the app, and its answer
// goes to the app.
func TestDrain_ClosesAWebSocket(t *testing.T) {
	const closing, closed = "\x88\x02\x03\xe9", "\x88\x82\x00\x00\x00\x00\x03\xe9"
	heard := make(chan string, 1)
	s := start(t, upgrading(t, func(conn net.Conn, in *bufio.Reader) {
		io.WriteString(conn, "\x81\x05he") // The first part of a frame.
		in.ReadByte()                      // The test lets it go on,
		io.WriteString(conn, "llo\x81\x03bye")
		got, _ := io.ReadAll(io.LimitReader(in, int64(len(closed))))
		heard <- string(got)
	}), "WADI_TIMEOUT_REQUEST=5m")
	conn, answers := s.upgrade("websocket")
	if _, err := io.ReadFull(answers, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	s.stop()
	eventually(t, "closed to newcomers", func() bool {
		c, err := net.Dial("tcp", s.Addr())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	time.Sleep(50 * time.Millisecond) // The close frame was sent by now, if it did not wait for the app's frame.
	io.WriteString(conn, "x")
	got := make([]byte, len("llo"+closing))
	if _, err := io.ReadFull(answers, got); err != nil || string(got) != "llo"+closing {
		t.Errorf("got %q, %v, want the rest of the frame and a close frame", got, err)
	}
	io.WriteString(conn, closed)
	if got := <-heard; got != closed {
		t.Errorf("the app got %q, want the caller's close frame", got)
	}
	if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
		t.Errorf("after the close frame: %q, %v", rest, err)
	}
	conn.Close()
	if err := s.ended(); err != nil {
		t.Error(err)
	}
}

// An app that never answers its WebSocket's close frame delays a drain only for a while, and
// the drain says what it waits for.
func TestDrain_SaysWhatItWaitsFor(t *testing.T) {
	over := make(chan struct{})
	s := start(t, upgrading(t, func(net.Conn, *bufio.Reader) { <-over }), "WADI_TIMEOUT_REQUEST=5m")
	defer close(over)
	conn, _ := s.upgrade("websocket")
	eventually(t, "a tunnel", func() bool { return s.metric("wadi_queue_tunnels") == "1" })
	s.stop()
	var d struct {
		Rest struct {
			Requests, Tunnels int
			Until             time.Time
		} `json:"drain_waits_for"`
	}
	eventually(t, "draining", func() bool {
		return json.Unmarshal([]byte(s.get(s.AdminAddr(), "/v1/admin/dump").text), &d) == nil && d.Rest.Tunnels == 1
	})
	if got := s.get(s.MetricsAddr(), "/ready").text; !strings.Contains(got, "draining: waits for 0 requests and 1 tunnel, until ") {
		t.Errorf("/ready answers %q, want what the drain waits for", got)
	}
	if left := time.Until(d.Rest.Until); d.Rest.Requests != 0 || left <= 0 || left > 5*time.Minute {
		t.Errorf("%+v, want one tunnel that may last for up to five minutes", d.Rest)
	}
	conn.Close()
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the drain waits for an app whose caller has gone")
	}
}
