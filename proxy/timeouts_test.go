package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

const (
	short = wadi.Duration(50 * time.Millisecond)
	long  = wadi.Duration(time.Minute)
)

// timed starts a server whose requests are forwarded to app within t.
func timed(t *testing.T, p wadi.Protocol, limits wadi.Timeouts, app http.HandlerFunc) string {
	t.Helper()
	u := proxy.NewUpstream(proxy.UpstreamConfig{Addr: serve(t, app), Protocol: p})
	t.Cleanup(u.Close)
	h := proxy.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := u.Forward(w, r); err != nil {
			http.Error(w, "forward failed", http.StatusBadGateway)
		}
	}), limits)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Before", "kept")
		h.ServeHTTP(w, r)
	})
}

// stall answers nothing until the caller has gone.
func stall(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // Else the server does not look whether the caller is there.
	<-r.Context().Done()
}

// trickle answers one byte and then nothing.
func trickle(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "a")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestTimeout_BeforeTheAnswer(t *testing.T) {
	for _, tt := range []struct {
		limits wadi.Timeouts
		want   string
	}{
		{wadi.Timeouts{Request: short}, "request timeout\n"},
		{wadi.Timeouts{Request: long, ResponseStart: short}, "response start timeout\n"},
		{wadi.Timeouts{Request: long, Idle: short}, "idle timeout\n"},
	} {
		each(t, func(t *testing.T, p wadi.Protocol, c *http.Client) {
			addr := timed(t, p, tt.limits, stall)
			for _, body := range []string{"", "body"} {
				res, err := c.Post("http://"+addr, "", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 504 || string(text) != tt.want || res.Header.Get("X-Before") != "kept" {
					t.Errorf("%d %q %v, want 504 %q", res.StatusCode, text, res.Header, tt.want)
				}
			}
		})
	}
}

func TestTimeout_InMidStreamBreaksIt(t *testing.T) {
	for _, limits := range []wadi.Timeouts{{Request: short}, {Request: long, ResponseStart: long, Idle: short}} {
		each(t, func(t *testing.T, p wadi.Protocol, c *http.Client) {
			addr := timed(t, p, limits, trickle)
			res, err := c.Get("http://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); err == nil || string(got) != "a" {
				t.Errorf("read %q, %v, want a and a broken stream", got, err)
			}
		})
	}
}

func TestTimeout_StartAndIdleLetASlowAnswerPass(t *testing.T) {
	each(t, func(t *testing.T, p wadi.Protocol, c *http.Client) {
		addr := timed(t, p, wadi.Timeouts{Request: long, ResponseStart: 4 * short, Idle: 4 * short},
			func(w http.ResponseWriter, r *http.Request) {
				tick := time.NewTicker(short.D())
				defer tick.Stop()
				for range 8 { // Twice as long as either, and never idle for it.
					io.WriteString(w, "a")
					_ = http.NewResponseController(w).Flush()
					<-tick.C
				}
			})
		res, err := c.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != "aaaaaaaa" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// A caller that never sends its body, and one that never reads its answer, must
// not hold the handler longer than its time.
func TestTimeout_StuckCallers(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		for b := make([]byte, 1<<16); r.Context().Err() == nil; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	readAll := func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	for name, tt := range map[string]struct {
		send string
		app  http.HandlerFunc
	}{
		"sends nothing": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1", readAll},
		"reads nothing": {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", endless},
	} {
		t.Run(name, func(t *testing.T) {
			u := proxy.NewUpstream(proxy.UpstreamConfig{Addr: serve(t, tt.app)})
			t.Cleanup(u.Close)
			done := make(chan error, 1)
			h := proxy.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { done <- context.Cause(r.Context()) }()
				_ = u.Forward(w, r)
			}), wadi.Timeouts{Request: 4 * short})
			conn, err := net.Dial("tcp", serve(t, h.ServeHTTP))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, tt.send)
			select {
			case err := <-done:
				if !errors.Is(err, proxy.ErrRequestTimeout) {
					t.Errorf("cause %v, want %v", err, proxy.ErrRequestTimeout)
				}
			case <-time.After(10 * time.Second):
				t.Error("the handler is held")
			}
		})
	}
}

func TestTimeout_UpgradedIsNotCut(t *testing.T) {
	addr := timed(t, wadi.HTTP1, wadi.Timeouts{Request: short, ResponseStart: short, Idle: short},
		func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			line, _ := rw.ReadString('\n')
			io.WriteString(conn, line)
		})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	<-time.After(4 * short.D())
	io.WriteString(conn, "late\n")
	if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), "late\n") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTimeout_LeavesOtherPanicsAlone(t *testing.T) {
	h := proxy.TimeoutHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("a bug")
	}), wadi.Timeouts{Request: long})
	defer func() {
		if got := recover(); got != "a bug" {
			t.Errorf("recovered %v, want the handler's own panic", got)
		}
	}()
	req, _ := http.NewRequest(http.MethodGet, "/", nil)
	h.ServeHTTP(nopWriter{}, req)
}

// nopWriter is a writer that has no deadlines.
type nopWriter struct{}

func (nopWriter) Header() http.Header         { return http.Header{} }
func (nopWriter) Write(b []byte) (int, error) { return len(b), nil }
func (nopWriter) WriteHeader(int)             {}
