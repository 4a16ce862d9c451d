// Package deadline bounds the time of requests: of the whole request, of the wait for the
// answer and of the pauses in it, and of what a server still does after the handler.
//
// It promises that a request within its limits costs no timer of its own, that a caller
// that neither sends nor reads holds no handler longer than its request's limit, and that
// an expired request is answered with 504 or visibly broken off. It does not cut an
// upgraded connection, unless that is idle.
//
// The activator has deadlines of its own (proxy/activator, revision.expire): it has a list of each
// revision's requests at hand, and one timer for all of them costs a request nothing. The
// queue-proxy needs the limits that only the writer of an answer sees.
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

// The same in Wadi-Error.
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

// youngFor is for how long nothing watches a request. Most are over by then and
// cost neither a timer nor a place among those who listen for the caller's leave.
// It is long enough for a busy machine, where small requests take their time.
const youngFor = 100 * time.Millisecond

// Timer bounds the time of requests, all by the same limits.
type Timer struct {
	limits wadi.Timeouts
	eager  bool // A limit is so short that requests are watched from the start.

	mu           sync.Mutex
	young        list.List[*Tracker] // Those that are not watched yet, in the order in which they came.
	timer        *time.Timer
	timerRunning bool
}

// NewTimer returns one for limits; a limit of 0 is none.
func NewTimer(limits wadi.Timeouts) *Timer {
	return &Timer{limits: limits, eager: UnwatchedFor(limits) < youngFor}
}

// unwatchedLeast is what UnwatchedFor says where a limit is short.
const unwatchedLeast = 20 * time.Millisecond

// UnwatchedFor is for how long nobody need listen to the contexts of requests that end
// by limits, see [UpstreamConfig]: not where a limit may be over by then.
func UnwatchedFor(limits wadi.Timeouts) time.Duration {
	for _, limit := range []wadi.Duration{limits.Request, limits.ResponseStart, limits.Idle} {
		if limit > 0 && limit.D() <= 2*youngFor {
			return unwatchedLeast
		}
	}
	return youngFor
}

// Tracker is one request and the writer of its answer. Whatever its timer does with
// the writer it does under the mutex and before End, after which that isn't ours.
type Tracker struct {
	of      *Timer
	w       http.ResponseWriter
	r       *http.Request // As it came.
	header  http.Header   // As it was before the handler; nil if empty.
	begun   time.Time
	hasBody bool
	body    trackedBody

	unflushed bool // Of the answer's body. Its goroutine's.

	node list.Node[*Tracker] // Among the keeper's young ones; guarded by its mutex.

	over atomic.Bool  // The context has ended; cause, which was set before, says why.
	last atomic.Int64 // When the last byte was sent, after begun. Kept only if idle is limited.

	mu        sync.Mutex
	watched   bool
	finished  bool
	sent      bool // Some of the answer was sent; its goroutine may read it without the mutex.
	informing bool // A 1xx is being sent.
	cut       bool // The caller's connection was made useless.
	upgraded  *Upgraded
	goingAway bool // Leave was called.
	behind    int  // Peers that are still at work.
	whenLeft  func()
	later     func() // Nil, or what End is to wait for. Of the handler's goroutine.
	expired   error  // Why the time is over; nil while it isn't.
	timer     *time.Timer
	stop      func() bool // Ends listening for the caller's leave.
	contextState
}

// Begin has t bound the time of r, which began at now. It returns the request whose
// context ends with the time, or with that of r; t is the writer of its answer, and
// its zero value before. [Timed.End] must be deferred before.
func (k *Timer) Begin(t *Tracker, w http.ResponseWriter, r *http.Request, now time.Time) *http.Request {
	t.of, t.w, t.r, t.begun = k, w, r, now
	t.hasBody = r.Body != nil && r.Body != http.NoBody
	if h := w.Header(); len(h) > 0 {
		t.header = h.Clone()
	}
	if k.eager {
		t.watch()
	} else {
		k.add(t)
	}
	out := r.WithContext((*trackedContext)(t))
	if t.hasBody {
		t.body.in = r.Body
		out.Body = &t.body
	}
	return out
}

func (k *Timer) add(t *Tracker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.young.PushBack(&t.node, t)
	if !k.timerRunning {
		k.start()
	}
}

// start has the young ones looked at in a while. The caller holds the mutex.
func (k *Timer) start() {
	k.timerRunning = true
	if k.timer == nil {
		k.timer = time.AfterFunc(youngFor, k.grow)
	} else {
		k.timer.Reset(youngFor)
	}
}

// grow watches the requests that are young no longer.
func (k *Timer) grow() {
	var grown []*Tracker
	until := time.Now().Add(-youngFor)
	k.mu.Lock()
	for t := k.young.First(); t != nil && !t.begun.After(until); t = k.young.First() {
		k.young.Remove(&t.node)
		grown = append(grown, t)
	}
	if k.timerRunning = k.young.Len() > 0; k.timerRunning {
		k.start()
	}
	k.mu.Unlock()
	for _, t := range grown {
		t.watch()
	}
}

// watch starts the timer, and listens for the caller's leave.
func (t *Tracker) watch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchLocked()
}

func (t *Tracker) watchLocked() {
	if t.watched || t.finished {
		return
	}
	t.watched = true
	if at, _ := t.nextEnd(); !at.IsZero() {
		t.timer = time.AfterFunc(time.Until(at), t.check)
	}
	t.stop = context.AfterFunc(t.r.Context(), t.left)
}

// left runs when the caller has gone.
func (t *Tracker) left() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endContext(t.r.Context().Err())
}

// CallerGone ends the request's context, for its caller has gone: see [WatchCaller].
func (t *Tracker) CallerGone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endContext(context.Canceled)
}

// nextEnd is the earliest time at which the request is over, and why; zero for
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

// check runs when the timer fires: bytes sent since then may have moved the end.
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
	if left := time.Until(at); left > 0 {
		t.timer.Reset(left)
		return
	}
	t.expire(cause)
}

// expire ends the request. A caller that sends or reads nothing would hold the
// handler in spite of its context. Not every writer has deadlines; those of
// servers have. The caller holds the mutex.
func (t *Tracker) expire(cause error) {
	t.expired = cause
	t.endContext(cause)
	if t.upgraded != nil {
		_ = t.upgraded.Close() // It is to break.
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

// Refused is why t was or will be answered with 504, nil if it was not.
func (t *Tracker) Refused() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent || t.cut {
		return nil
	}
	return t.expired
}

// End ends the request, and answers in the handler's place if the time was over
// before that did. It breaks an answer off whose time was over, by a panic with
// [http.ErrAbortHandler].
func (t *Tracker) End() {
	k := t.of
	k.mu.Lock()
	k.young.Remove(&t.node)
	k.mu.Unlock()
	t.mu.Lock()
	t.finished = true
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.stop != nil {
		t.stop()
	}
	t.endContext(context.Canceled)
	expired := t.expired
	t.mu.Unlock()
	if t.upgraded != nil {
		return
	}
	if expired == nil {
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
	// The handler may have broken off an answer of which nothing was sent.
	if p := recover(); p != nil && p != http.ErrAbortHandler {
		panic(p)
	}
	if t.r.ProtoMajor == 1 || !isHeaderAlone(t.r) {
		_ = http.NewResponseController(t.w).SetWriteDeadline(time.Now().Add(unheardFor)) // It fails on writers that have no connection.
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
