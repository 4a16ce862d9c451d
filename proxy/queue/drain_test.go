package queue_test

import (
	"bufio"
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
	if took := time.Since(begun); took >= 10*time.Second { // As long as a drain settles that isn't idle.
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

// Whoever watches an idle instance hears at once that it is not ready any more.
func TestDrain_EndsAWaitingPoll(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, `WADI_QUIET=["/quiet"]`)
	go s.get(s.Addr(), "/quiet") // Holds up the end of the drain, and is not counted.
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
	<-polls // It was told of the app's readiness, and waits.
	begun := time.Now()
	s.stop()
	last := ""
	for ready := range polls {
		last = ready
	}
	if took := time.Since(begun); last != "false" || took > time.Minute {
		t.Errorf("heard %q after %v", last, took)
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

// A request that waits for an app which never comes must not hold up the end.
func TestDrain_RefusesWhatIsHeld(t *testing.T) {
	s := startUnready(t, freeAddr(t))
	first := make(chan answer, 1)
	go func() { first <- s.get(s.Addr(), "/") }()
	eventually(t, "held", func() bool { return strings.Contains(s.get(s.AdminAddr(), "/v1/admin/dump").text, `"held"`) })
	s.stop()
	if a := <-first; a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %q", a.StatusCode, a.text)
	}
	if err := s.ended(); err != nil {
		t.Error(err)
	}
}

func TestDrain_WaitsForAnUpgradedRequest(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, line)
	}, "WADI_TIMEOUT_REQUEST=5m")
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	answers := bufio.NewReader(conn)
	if res, err := http.ReadResponse(answers, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("answer %+v, %v", res, err)
	}
	s.stop()
	eventually(t, "closed to newcomers", func() bool {
		c, err := net.Dial("tcp", s.Addr())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	io.WriteString(conn, "still here\n")
	if got, err := answers.ReadString('\n'); got != "still here\n" {
		t.Errorf("got %q, %v", got, err)
	}
	conn.Close() // The app has closed its half, and the client hears of it.
	if err := s.ended(); err != nil {
		t.Error(err)
	}
}
