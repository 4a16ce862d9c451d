package upstream_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// memoryUpstream forwards to l.
func memoryUpstream(t *testing.T, l *proxytest.Listener, cfg upstream.Config) *upstream.Upstream {
	cfg.Addr = "memory"
	if cfg.Dial == nil {
		cfg.Dial = l.Dial
	}
	u := upstream.New(cfg)
	t.Cleanup(u.Close)
	return u
}

// An idle connection is closed in time, and not before.
func TestHTTP1_IdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := proxytest.ServeMemory(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
		u := memoryUpstream(t, l, upstream.Config{IdleTimeout: time.Minute})
		for i, tt := range []struct {
			after      time.Duration
			open, idle int
		}{{0, 1, 1}, {59 * time.Second, 1, 1}, {59 * time.Second, 1, 1}, {61 * time.Second, 0, 0}} {
			time.Sleep(tt.after)
			synctest.Wait()
			if open, idle := u.Conns(); i > 0 && (open != tt.open || idle != tt.idle) {
				t.Errorf("step %d: %d open, %d idle, want %d, %d", i, open, idle, tt.open, tt.idle)
			}
			if w, err := do(u, http.MethodGet, nil); err != nil || w.Body.String() != "ok" {
				t.Fatalf("got %q, %v", w.Body, err)
			}
		}
	})
}

// A request that waits for a connection is given up with its context, and takes
// nothing from those that wait on.
func TestHTTP1_WaitingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := proxytest.ServeMemory(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
		let := make(chan struct{})
		u := memoryUpstream(t, l, upstream.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			<-let
			return l.Dial(ctx)
		}})
		reason := errors.New("no patience")
		ctx, cancel := context.WithCancelCause(t.Context())
		var all sync.WaitGroup
		for i := range 40 + 20 {
			all.Go(func() {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				if i >= 40 {
					time.Sleep(time.Second) // Behind the requests with a dial slot.
					r = r.WithContext(ctx)
				}
				err := u.Forward(httptest.NewRecorder(), r)
				if given := errors.Is(err, reason); given != (i >= 40) || !given && err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			})
		}
		time.Sleep(2 * time.Second)
		cancel(reason)
		synctest.Wait()
		close(let)
		all.Wait()
		if open, idle := u.Conns(); open != idle || open > 40 {
			t.Errorf("%d open, %d idle", open, idle)
		}
	})
}

// A caller that has its answer and does not send the rest of its body holds nothing
// for long.
func TestHTTP1_SlowBodyAfterTheAnswer(t *testing.T) {
	for name, framing := range map[string]string{"length": "Content-Length: 2\r\n\r\nno", "chunked": "Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := proxytest.Listen()
				go func() {
					c, err := app.Accept()
					if err != nil {
						return
					}
					in := bufio.NewReader(c)
					_, _ = head(in)
					_, _ = fmt.Fprintf(c, "HTTP/1.1 413 Too Large\r\n%s", framing)
					_, _ = io.Copy(io.Discard, in)
				}()
				defer app.Close()
				u := memoryUpstream(t, app, upstream.Config{})
				returned := make(chan time.Time, 1)
				l := proxytest.ServeMemory(t, func(w http.ResponseWriter, r *http.Request) {
					_ = u.Forward(w, r)
					returned <- time.Now()
				})
				c, err := l.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				begun := time.Now()
				_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin")
				if res := wantAnswer(t, bufio.NewReader(c), 413, "no"); !res.Close {
					t.Error("the connection stays open")
				}
				if took := (<-returned).Sub(begun); took > 10*time.Second {
					t.Errorf("the caller held its request for %v", took)
				}
			})
		})
	}
}

// A request that takes long ends with its context, the app's connection with it.
func TestHTTP1_ContextEnds(t *testing.T) {
	for _, unwatched := range []time.Duration{0, 100 * time.Millisecond} {
		for _, after := range []time.Duration{time.Millisecond, 30 * time.Millisecond, time.Hour} {
			contextEnds(t, after, unwatched)
		}
	}
}

func contextEnds(t *testing.T, after, unwatched time.Duration) {
	most := 2 * cmp.Or(unwatched, 20*time.Millisecond)
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		l := proxytest.ServeMemory(t, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(gone)
		})
		u := memoryUpstream(t, l, upstream.Config{Unwatched: unwatched})
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(after, func() { cancel(reason) })
		begun := time.Now()
		err := u.Forward(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
		took := time.Since(begun)
		if !errors.Is(err, reason) || took > max(after, most) {
			t.Errorf("unwatched for %v, after %v: got %v, %v late", unwatched, after, err, took-after)
		}
		if after < time.Second && took < cmp.Or(unwatched, 20*time.Millisecond) {
			t.Errorf("unwatched for %v, after %v: seen after %v", unwatched, after, took)
		}
		<-gone
		if open, _ := u.Conns(); open != 0 {
			t.Errorf("%d connections are open", open)
		}
	})
}

// Where a limit is short the contexts are watched sooner.
func TestUnwatchedFor(t *testing.T) {
	short, long := wadi.Duration(200*time.Millisecond), wadi.Duration(time.Second)
	for _, tt := range []struct {
		limits wadi.Timeouts
		want   time.Duration
	}{
		{wadi.Timeouts{}, 100 * time.Millisecond},
		{wadi.Timeouts{Request: long, ResponseStart: long, Idle: long}, 100 * time.Millisecond},
		{wadi.Timeouts{Request: short}, 20 * time.Millisecond},
		{wadi.Timeouts{Request: long, ResponseStart: short}, 20 * time.Millisecond},
		{wadi.Timeouts{Request: long, Idle: short}, 20 * time.Millisecond},
	} {
		if got := deadline.UnwatchedFor(tt.limits); got != tt.want {
			t.Errorf("%+v: got %v, want %v", tt.limits, got, tt.want)
		}
	}
}

// A peer lets no further connection in: those that dial take what comes free, and what
// they have given up is no connection of theirs.
func TestHTTP1_SlowDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := proxytest.ServeMemory(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			_, _ = io.WriteString(w, "ok")
		})
		dials := make(chan struct{}, 1)
		u := memoryUpstream(t, l, upstream.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			select {
			case dials <- struct{}{}:
				return l.Dial(ctx)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}})
		var all sync.WaitGroup
		begun := time.Now()
		for range 50 {
			all.Go(func() {
				if w, err := do(u, http.MethodPost, nil); err != nil || w.Body.String() != "ok" {
					t.Errorf("got %q, %v", w.Body, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took > 51*time.Second {
			t.Errorf("50 requests of a second took %v over one connection", took)
		}
		synctest.Wait()
		if open, idle := u.Conns(); open != 1 || idle != 1 {
			t.Errorf("%d open, %d idle, want one", open, idle)
		}
	})
}
