package proxy

import (
	"bufio"
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// Causes with which the context of a request ends that took too long.
var (
	ErrRequestTimeout       = errors.New("request timeout")
	ErrResponseStartTimeout = errors.New("response start timeout")
	ErrIdleTimeout          = errors.New("idle timeout")
)

// TimeoutHandler ends requests that take longer than t allows: the whole
// request, the wait for the first byte of the answer, and the pause between two
// of its bytes (or before the first). The context of the request that next gets
// ends then. As long as nothing of an answer was sent the caller gets 504 with a
// short text, whatever next answers from then on; later the stream is broken
// off. A timeout of 0 is none. An upgraded request is not cut.
//
// Next must return when its context ends; it runs in the caller's goroutine.
func TimeoutHandler(next http.Handler, t wadi.Timeouts) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		tw := &timedWriter{w: w, limits: t, cancel: cancel, hasBody: r.Body != nil && r.Body != http.NoBody, r: r}
		if len(w.Header()) > 0 {
			tw.header = w.Header().Clone()
		}
		tw.start(time.Now())
		defer tw.finish()
		next.ServeHTTP(tw, r.WithContext(ctx))
	})
}

// timedWriter notes when parts of an answer are sent. Whatever the timer does
// with w it does under the mutex and before finish, after which w isn't ours.
type timedWriter struct {
	w       http.ResponseWriter
	limits  wadi.Timeouts
	cancel  context.CancelCauseFunc
	hasBody bool
	r       *http.Request
	header  http.Header // As it was before the handler; nil if empty.

	mu       sync.Mutex
	timer    *time.Timer // Nil without any limit.
	begun    time.Time
	last     time.Time // Of the last byte sent, or begun.
	sent     bool      // Some of the answer was sent.
	upgraded bool
	finished bool
	expired  error // Why the time is over; nil while it isn't.
}

func (t *timedWriter) start(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.last = now, now
	if next, _ := t.next(); !next.IsZero() {
		t.timer = time.AfterFunc(next.Sub(now), t.check)
	}
}

// next is the earliest time at which the request is over, and why; zero for never.
func (t *timedWriter) next() (at time.Time, cause error) {
	consider := func(from time.Time, limit wadi.Duration, why error) {
		if limit <= 0 {
			return
		}
		if end := from.Add(limit.D()); at.IsZero() || end.Before(at) {
			at, cause = end, why
		}
	}
	consider(t.begun, t.limits.Request, ErrRequestTimeout)
	if !t.sent {
		consider(t.begun, t.limits.ResponseStart, ErrResponseStartTimeout)
	}
	consider(t.last, t.limits.Idle, ErrIdleTimeout)
	return at, cause
}

// check runs when the timer fires: bytes sent since then may have moved the end.
func (t *timedWriter) check() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.finished || t.upgraded {
		return
	}
	at, cause := t.next()
	if at.IsZero() {
		return // Only the start was limited, and it came.
	}
	if left := time.Until(at); left > 0 {
		t.timer.Reset(left)
		return
	}
	t.expired = cause
	t.cancel(cause)
	past := time.Unix(1, 0)
	rc := http.NewResponseController(t.w)
	// A caller that sends or reads nothing would hold the handler in spite of
	// its context. Not every writer has deadlines; those of servers have.
	if t.hasBody {
		_ = rc.SetReadDeadline(past)
	}
	if t.sent {
		_ = rc.SetWriteDeadline(past)
	}
}

// finish answers in the handler's place if the time was over before it did.
func (t *timedWriter) finish() {
	t.mu.Lock()
	t.finished = true
	if t.timer != nil {
		t.timer.Stop()
	}
	expired := t.expired
	t.mu.Unlock()
	if expired == nil {
		return
	}
	if t.sent {
		panic(http.ErrAbortHandler)
	}
	// The handler may have broken off an answer of which nothing was sent.
	if p := recover(); p != nil && p != http.ErrAbortHandler {
		panic(p)
	}
	clear(t.w.Header())
	maps.Copy(t.w.Header(), t.header)
	if t.hasBody {
		t.w.Header().Set("Connection", "close") // The rest of the body was not read.
	}
	if !RefuseGRPC(t.w, t.r, http.StatusGatewayTimeout, expired.Error()) {
		http.Error(t.w, expired.Error(), http.StatusGatewayTimeout)
	}
}

func (t *timedWriter) Header() http.Header { return t.w.Header() }

func (t *timedWriter) Unwrap() http.ResponseWriter { return t.w }

func (t *timedWriter) WriteHeader(status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expired != nil {
		return
	}
	if status >= 200 || status == http.StatusSwitchingProtocols {
		t.sent = true
		t.last = time.Now()
	}
	t.w.WriteHeader(status)
}

// Write sends b. Before its last byte is out the caller may be slow: that time
// counts, so the mutex is not held.
func (t *timedWriter) Write(b []byte) (int, error) {
	if err := t.touch(); err != nil {
		return 0, err
	}
	n, err := t.w.Write(b)
	if err != nil {
		return n, err
	}
	return n, t.touch()
}

func (t *timedWriter) touch() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expired != nil {
		return http.ErrHandlerTimeout
	}
	t.sent = true
	t.last = time.Now()
	return nil
}

// FlushError sends what is buffered, and the header before it.
func (t *timedWriter) FlushError() error {
	if err := t.touch(); err != nil {
		return err
	}
	return http.NewResponseController(t.w).Flush()
}

// Hijack hands the connection over, for an upgrade; no timeout counts from then on.
func (t *timedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expired != nil {
		return nil, nil, http.ErrHandlerTimeout
	}
	conn, rw, err := http.NewResponseController(t.w).Hijack()
	if err == nil {
		t.upgraded = true
	}
	return conn, rw, err
}
