package deadline

import (
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/list"
)

// unwatchedFor is how long a request is not watched. Most are over by then, and cost neither
// a timer nor a listener to the caller's context. It is long enough for a busy machine, where
// small requests take their time.
const unwatchedFor = 100 * time.Millisecond

// Timer bounds the time of requests, all by the same limits: the whole request, the wait for
// the first byte of the answer, and the pause between two of its bytes or before the first.
//
// When a limit is exceeded the request's context ends. As long as nothing of an answer was
// sent the caller gets 504 with a short text, whatever the handler answers from then on;
// later the stream is broken off. An upgraded request is not cut, but its connection is
// closed when no byte has gone either way for the idle limit.
//
// A handler must return when its context ends; it runs in the caller's goroutine.
type Timer struct {
	limits wadi.Timeouts
	eager  bool // A limit is so short that requests are watched from the start.

	mu           sync.Mutex
	young        list.List[*Tracker] // Not watched yet, in order of arrival.
	timer        *time.Timer
	timerRunning bool
}

// NewTimer returns a timer for limits; a limit of 0 is none.
func NewTimer(limits wadi.Timeouts) *Timer {
	return &Timer{limits: limits, eager: UnwatchedFor(limits) < unwatchedFor}
}

// unwatchedLeast is how long a request is not watched where a limit is short.
const unwatchedLeast = 20 * time.Millisecond

// UnwatchedFor is how long the contexts of requests with these limits need no listener: less
// than any limit. It is for upstream.Config.
func UnwatchedFor(limits wadi.Timeouts) time.Duration {
	for _, limit := range []wadi.Duration{limits.Request, limits.ResponseStart, limits.Idle} {
		if limit > 0 && limit.D() <= 2*unwatchedFor {
			return unwatchedLeast
		}
	}
	return unwatchedFor
}

func (k *Timer) add(t *Tracker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.young.PushBack(&t.node, t)
	if !k.timerRunning {
		k.start()
	}
}

// start starts the timer of the young requests. The caller holds the mutex.
func (k *Timer) start() {
	k.timerRunning = true
	if k.timer == nil {
		k.timer = time.AfterFunc(unwatchedFor, k.watchOld)
	} else {
		k.timer.Reset(unwatchedFor)
	}
}

// watchOld begins to watch the requests that have lasted for unwatchedFor.
func (k *Timer) watchOld() {
	var old []*Tracker
	until := time.Now().Add(-unwatchedFor)
	k.mu.Lock()
	for t := k.young.First(); t != nil && !t.begun.After(until); t = k.young.First() {
		k.young.Remove(&t.node)
		old = append(old, t)
	}
	if k.timerRunning = k.young.Len() > 0; k.timerRunning {
		k.start()
	}
	k.mu.Unlock()
	for _, t := range old {
		t.watch()
	}
}
