package activator

import (
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

// What a waiting request holds besides its headers: goroutine stacks and
// buffers of net/http, as measured, rounded up.
const (
	waiterBytes    = 20 << 10
	waiterTLSBytes = 64 << 10
)

// waiter is one request in a revision's queue. All fields but done and bytes
// are guarded by the revision's mutex until done is closed; then they are the
// request's own.
type waiter struct {
	prev, next *waiter
	queued     bool
	quiet      bool // Doesn't wake.
	arrived    time.Time
	deadline   time.Time
	tooLong    bool // The deadline is the whole request's, not the queue's.

	conn syscall.RawConn // Looked at by the loop, if net/http doesn't.

	done  chan struct{} // Closed when one of the next two is set.
	grant grant
	err   error
}

// waitList is a queue that a waiter can leave from the middle.
type waitList struct {
	head, tail *waiter
	n          int
	loud       int // How many are not quiet.
}

func (l *waitList) pushBack(w *waiter)  { l.insert(w, l.tail, nil) }
func (l *waitList) pushFront(w *waiter) { l.insert(w, nil, l.head) }

func (l *waitList) insert(w, prev, next *waiter) {
	w.prev, w.next, w.queued = prev, next, true
	if prev == nil {
		l.head = w
	} else {
		prev.next = w
	}
	if next == nil {
		l.tail = w
	} else {
		next.prev = w
	}
	l.n++
	if !w.quiet {
		l.loud++
	}
}

func (l *waitList) remove(w *waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	l.n--
	if !w.quiet {
		l.loud--
	}
}

// room bounds what waits in the whole agent.
type room struct {
	maxCount, maxBytes int64
	count, bytes       atomic.Int64
}

// take reserves a place of n bytes, or reports false and reserves nothing.
func (m *room) take(n int64) bool {
	if m.count.Add(1) > m.maxCount {
		m.count.Add(-1)
		return false
	}
	if m.bytes.Add(n) > m.maxBytes {
		m.give(n)
		return false
	}
	return true
}

// enter takes the place that r needs, and returns its size.
func (m *room) enter(r *http.Request) (int64, error) {
	n := footprint(r)
	if !m.take(n) {
		return 0, full("as many requests wait as may in this agent")
	}
	return n, nil
}

func (m *room) give(n int64) {
	m.count.Add(-1)
	m.bytes.Add(-n)
}

// footprint estimates what r holds in memory while it waits.
func footprint(r *http.Request) int64 {
	n := int64(waiterBytes)
	if r.TLS != nil {
		n = waiterTLSBytes
	}
	n += int64(len(r.RequestURI) + len(r.Host))
	for k, vs := range r.Header {
		for _, v := range vs {
			n += int64(len(k) + len(v) + 32)
		}
	}
	return n
}
