// Package deadline bounds the time of requests: of the whole request, of the wait for the
// answer and of the pauses in it, and of what a server still does after the handler.
//
// It promises that a request within its limits costs no timer of its own, that a caller
// that neither sends nor reads holds no handler longer than its request's limit, and that
// an expired request is answered with 504 or visibly broken off. It does not cut an
// upgraded connection, unless that is idle.
//
// The activator has deadlines of its own (revision.expire in proxy/activator): it keeps a
// list of each revision's requests anyway, and one timer for the list costs a request
// nothing. The queue-proxy also limits the start and the pauses of an answer, which only the
// answer's writer sees.
package deadline

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/lazy"
	"github.com/wadi-run/wadi/proxy/list"
)

// Errors of the context of a request that took too long. Each is a
// [context.DeadlineExceeded], too.
var (
	ErrRequestTimeout       error = timeoutError("request timeout")
	ErrResponseStartTimeout error = timeoutError("response start timeout")
	ErrIdleTimeout          error = timeoutError("idle timeout")
)

type timeoutError string

func (e timeoutError) Error() string        { return string(e) }
func (e timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Their codes in Wadi-Error; that of ErrRequestTimeout is proxy.CodeRequestTimeout.
const (
	codeResponseStartTimeout = "response_start_timeout"
	codeIdleTimeout          = "idle_timeout"
)

func timeoutCode(err error) string {
	switch err {
	case ErrResponseStartTimeout:
		return codeResponseStartTimeout
	case ErrIdleTimeout:
		return codeIdleTimeout
	}
	return proxy.CodeRequestTimeout
}

// Tracker tracks the deadlines of one request, and is the writer of its answer. It touches
// the writer below under the mutex only, and not after End.
type Tracker struct {
	of        *Timer
	w         http.ResponseWriter
	r         *http.Request // As it came.
	header    http.Header   // As it was before the handler; nil if empty.
	begun     time.Time
	hasBody   bool
	unflushed bool // Of the answer's body. Its goroutine's.
	body      trackedBody

	ctx lazy.Context // Its error is one of the timeouts, or that of the caller's context.

	node list.Node[*Tracker] // In the timer's young list; guarded by its mutex.

	last atomic.Int64 // When the last byte was sent, after begun. Kept only if idle is limited.

	mu        sync.Mutex
	finished  bool
	sent      bool // Some of the answer was sent; its goroutine may read it without the mutex.
	informing bool // A 1xx is being sent.
	cut       bool // The caller's connection was made useless.
	goingAway bool // GoAway was called.
	upgraded  *Upgraded
	busyPeers int
	peersDone func() // Called when no peer is busy any more; may be nil.
	later     func() // Nil, or what End is to wait for. Of the handler's goroutine.
	expired   error  // Why the time is over; nil while it isn't.
	timer     *time.Timer
}

// Begin bounds the time of r, which began at now. It returns the request whose context ends
// with its time or with r's context; t, zero before, is the writer of its answer.
// [Tracker.End] must be deferred before.
func (k *Timer) Begin(t *Tracker, w http.ResponseWriter, r *http.Request, now time.Time) *http.Request {
	t.of, t.w, t.r, t.begun = k, w, r, now
	t.ctx.Init(r.Context())
	t.hasBody = r.Body != nil && r.Body != http.NoBody
	if h := w.Header(); len(h) > 0 {
		t.header = h.Clone()
	}
	if k.eager {
		t.watch()
	} else {
		k.add(t)
	}
	out := r.WithContext(&t.ctx)
	if t.hasBody {
		t.body.in = r.Body
		out.Body = &t.body
	}
	return out
}

// watch starts the request's timer, and listens to the caller's context.
func (t *Tracker) watch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.finished {
		return
	}
	if at, _ := t.nextEnd(); !at.IsZero() {
		t.timer = time.AfterFunc(time.Until(at), t.check)
	}
	t.ctx.Follow()
}

// CallerGone ends the request's context because the caller has hung up; see package hangup.
func (t *Tracker) CallerGone() { t.ctx.End(context.Canceled, context.Canceled) }

// nextEnd is the earliest time at which a limit is exceeded, and that limit's error; zero for
// never. The caller holds the mutex.
func (t *Tracker) nextEnd() (at time.Time, cause error) {
	limits := t.of.limits
	consider := func(from time.Time, limit wadi.Duration, why error) {
		if limit <= 0 {
			return
		}
		if end := from.Add(limit.D()); at.IsZero() || end.Before(at) {
			at, cause = end, why
		}
	}
	if t.upgraded == nil {
		consider(t.begun, limits.Request, ErrRequestTimeout)
		if !t.sent {
			consider(t.begun, limits.ResponseStart, ErrResponseStartTimeout)
		}
	}
	consider(t.begun.Add(time.Duration(t.last.Load())), limits.Idle, ErrIdleTimeout)
	return at, cause
}

// check runs when the timer fires.
func (t *Tracker) check() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.finished {
		return
	}
	at, cause := t.nextEnd()
	if at.IsZero() {
		return // Only the start was limited, and it came.
	}
	if left := time.Until(at); left > 0 { // A byte was sent meanwhile.
		t.timer.Reset(left)
		return
	}
	t.expire(cause)
}

// expire ends the request. It also ends reads and writes of the caller's connection: a caller
// that sends or reads nothing would hold the handler in spite of its context. Writers of
// servers have deadlines; on others this fails. The caller holds the mutex.
func (t *Tracker) expire(cause error) {
	t.expired = cause
	t.ctx.End(cause, cause)
	if t.upgraded != nil {
		_ = t.upgraded.Close() // Both ends see that it breaks.
		return
	}
	past := time.Unix(1, 0)
	rc := http.NewResponseController(t.w)
	if t.hasBody {
		_ = rc.SetReadDeadline(past)
	}
	if t.sent || t.informing {
		t.cut = true
		_ = rc.SetWriteDeadline(past)
	}
}

// Refused is why the request was or will be answered with 504; nil: it is not.
func (t *Tracker) Refused() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent || t.cut {
		return nil
	}
	return t.expired
}

// Expired reports whether the request's time was over before it ended.
func (t *Tracker) Expired() bool { return t.timeIsOver() }

// End ends the request. If its time was over before an answer began it answers with 504. If
// its time was over in the midst of an answer it breaks that off, by a panic with
// [http.ErrAbortHandler]. It must be deferred itself, for it recovers the handler's panic.
func (t *Tracker) End() {
	expired := t.finish()
	switch {
	case t.upgraded != nil:
		return
	case expired == nil:
		if t.later != nil {
			t.later()
		}
		t.bound()
		return
	}
	t.endReading()
	if t.sent || t.cut {
		panic(http.ErrAbortHandler)
	}
	// The handler may have broken off an answer before anything was sent.
	if p := recover(); p != nil && p != http.ErrAbortHandler {
		panic(p)
	}
	t.answerExpired(expired)
}

// finish stops the watching of the request, and ends its context. It returns why the
// request's time was over, nil if it was not.
func (t *Tracker) finish() (expired error) {
	k := t.of
	k.mu.Lock()
	k.young.Remove(&t.node)
	k.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finished = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.ctx.End(context.Canceled, context.Canceled)
	return t.expired
}

// answerExpired answers with 504, with the header that was there before the handler.
func (t *Tracker) answerExpired(expired error) {
	if t.r.ProtoMajor == 1 || !isHeaderAlone(t.r) {
		_ = http.NewResponseController(t.w).SetWriteDeadline(time.Now().Add(answerTimeout)) // It fails on writers that have no connection.
	}
	clear(t.w.Header())
	maps.Copy(t.w.Header(), t.header)
	t.w.Header().Set(wadi.HeaderError, timeoutCode(expired))
	if t.hasBody {
		t.w.Header().Set("Connection", "close") // The rest of the body was not read.
	}
	if !proxy.RefuseGRPC(t.w, t.r, http.StatusGatewayTimeout, expired.Error()) {
		http.Error(t.w, expired.Error(), http.StatusGatewayTimeout)
	}
}
