package deadline_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

const (
	short = wadi.Duration(50 * time.Millisecond)
	long  = wadi.Duration(time.Minute)
)

// within serves h within limits.
func within(h http.Handler, limits wadi.Timeouts) http.Handler {
	k := deadline.NewTimer(limits)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &deadline.Tracker{}
		defer t.End()
		h.ServeHTTP(t, k.Begin(t, w, r, time.Now()))
	})
}

// timed starts a server in the bubble whose requests are forwarded to app within limits.
func timed(t *testing.T, p wadi.Protocol, limits wadi.Timeouts, app http.HandlerFunc) *proxytest.Listener {
	t.Helper()
	u := upstream.New(upstream.Config{Addr: "app", Protocol: p, Dial: proxytest.ServeMemory(t, app).Dial})
	t.Cleanup(u.Close)
	h := within(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := u.Forward(w, r); err != nil {
			http.Error(w, "forward failed", http.StatusBadGateway)
		}
	}), limits)
	return proxytest.ServeMemory(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Before", "kept")
		h.ServeHTTP(w, r)
	})
}

// eachTimed runs f over HTTP/1.1 and over HTTP/2, with a client of a timed server,
// in a bubble of fake time: what a busy machine takes does not count.
func eachTimed(t *testing.T, limits wadi.Timeouts, app http.HandlerFunc, f func(t *testing.T, c *http.Client)) {
	for _, p := range []wadi.Protocol{wadi.HTTP1, wadi.H2C} {
		t.Run(string(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, proxytest.MemoryClient(t, p != wadi.HTTP1, timed(t, p, limits, app))) })
		})
	}
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
		eachTimed(t, tt.limits, stall, func(t *testing.T, c *http.Client) {
			for _, body := range []string{"", "body"} {
				begun := time.Now()
				res, err := c.Post("http://front", "", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 504 || string(text) != tt.want || res.Header.Get("X-Before") != "kept" {
					t.Errorf("%d %q %v, want 504 %q", res.StatusCode, text, res.Header, tt.want)
				}
				if took := time.Since(begun); took != short.D() {
					t.Errorf("%q took %v, want %v", tt.want, took, short)
				}
			}
		})
	}
}

func TestTimeout_InMidStreamBreaksIt(t *testing.T) {
	for _, limits := range []wadi.Timeouts{{Request: short}, {Request: long, ResponseStart: long, Idle: short}} {
		eachTimed(t, limits, trickle, func(t *testing.T, c *http.Client) {
			begun := time.Now()
			res, err := c.Get("http://front")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); err == nil || string(got) != "a" {
				t.Errorf("read %q, %v, want a and a broken stream", got, err)
			}
			if took := time.Since(begun); took != short.D() {
				t.Errorf("broken after %v, want %v", took, short)
			}
		})
	}
}

func TestTimeout_StartAndIdleLetASlowAnswerPass(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		for range 8 { // Twice as long as either, and never idle for it.
			io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(short.D())
		}
	}
	limits := wadi.Timeouts{Request: long, ResponseStart: 4 * short, Idle: 4 * short}
	eachTimed(t, limits, slow, func(t *testing.T, c *http.Client) {
		res, err := c.Get("http://front")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != "aaaaaaaa" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// A caller that never sends its body or never reads its answer must
// not hold the handler longer than its time. Over real connections: their
// deadlines are what frees it.
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
			app := proxytest.Serve(t, tt.app)
			u := upstream.New(upstream.Config{Addr: app, Dial: proxytest.Dialer(app)})
			t.Cleanup(u.Close)
			done := make(chan error, 1)
			h := within(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { done <- r.Context().Err() }()
				_ = u.Forward(w, r)
			}), wadi.Timeouts{Request: 4 * short})
			conn, err := net.Dial("tcp", proxytest.Serve(t, h.ServeHTTP))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, tt.send)
			select {
			case err := <-done:
				if !errors.Is(err, deadline.ErrRequestTimeout) {
					t.Errorf("cause %v, want %v", err, deadline.ErrRequestTimeout)
				}
			case <-time.After(time.Minute):
				t.Error("the handler is held")
			}
		})
	}
}

func TestTimeout_UpgradedIsNotCut(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, line)
	}
	synctest.Test(t, func(t *testing.T) {
		conn, err := timed(t, wadi.HTTP1, wadi.Timeouts{Request: short, ResponseStart: short, Idle: 8 * short}, echo).Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		answers := bufio.NewReader(conn)
		if res, err := http.ReadResponse(answers, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("answer %+v, %v", res, err)
		}
		time.Sleep(4 * short.D())
		io.WriteString(conn, "late\n")
		if got, err := io.ReadAll(answers); err != nil || string(got) != "late\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A byte in either direction keeps an upgraded connection, and silence ends it.
func TestTimeout_UpgradedIsCutWhenIdle(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		for range 3 {
			time.Sleep(short.D() * 3 / 4)
			io.WriteString(conn, "a")
		}
		_, _ = io.Copy(io.Discard, rw)
	}
	synctest.Test(t, func(t *testing.T) {
		conn, err := timed(t, wadi.HTTP1, wadi.Timeouts{Request: long, Idle: short}, echo).Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		begun := time.Now()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		answers := bufio.NewReader(conn)
		if res, err := http.ReadResponse(answers, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("answer %+v, %v", res, err)
		}
		if got, err := io.ReadFull(answers, make([]byte, 3)); err != nil {
			t.Errorf("%d bytes from the app, %v", got, err)
		}
		for range 3 {
			time.Sleep(short.D() * 3 / 4)
			if _, err := io.WriteString(conn, "b"); err != nil {
				t.Error(err)
			}
		}
		_, _ = io.Copy(io.Discard, answers) // However it ends.
		if took, want := time.Since(begun), short.D()*(6*3+4)/4; took != want {
			t.Errorf("cut after %v, want %v", took, want)
		}
	})
}

func TestTimeout_LeavesOtherPanicsAlone(t *testing.T) {
	h := within(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
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

func TestTimeout_OfGRPC(t *testing.T) {
	h := within(http.HandlerFunc(stall), wadi.Timeouts{Request: wadi.Duration(10 * time.Millisecond)})
	addr := proxytest.Serve(t, h.ServeHTTP)
	req, _ := http.NewRequest(http.MethodPost, "http://"+addr, strings.NewReader("x"))
	req.Header.Set("Content-Type", "application/grpc")
	res, err := proxytest.Client(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Grpc-Status"); res.StatusCode != 200 || got != "4" {
		t.Errorf("got %d, code %q, want 200 and 4", res.StatusCode, got)
	}
}
