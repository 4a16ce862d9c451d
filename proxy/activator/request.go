package activator

import (
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

// request is one request on its way through. It is in at most one of its
// revision's lists: it waits, or it is at an instance.
type request struct {
	out    response
	in     *http.Request
	a      *Activator
	rev    *revision
	set    *wadi.RouteRevision
	trip   *Trip  // Nil: nobody wants to know.
	caller string // As the mesh names it.

	arrived time.Time
	quiet   bool // Doesn't wake, and is not counted as activity.
	body    *body
	sent    atomic.Int32 // How often it was sent to an instance.
	ctx     *attempt     // Of the present attempt, or of the next.
	first   attempt

	// Guarded by the revision's mutex.
	prev, next *request
	list       *list
	until      time.Time // Of the waiting.
	tooLong    bool      // The above is the whole request's end, not the queue's.
	end        time.Time // Of the whole request; zero is never.
	upgraded   *proxy.Upgraded
	expired    chan struct{} // Made when its time is over; closed when that is dealt with.
	oldest     bool          // It was the oldest that waited when the first instance came.

	conn syscall.RawConn // Looked at by the loop while r waits, if net/http doesn't.

	// Set before done is closed, and the request's own from then on.
	done  chan struct{}
	grant grant
	err   error
}

// grant is the right to send one request to an instance.
type grant struct {
	instance *instance
	turn     int // The instance's, when it was granted.
	at       time.Time
	cold     *Phases // Nil: it had not to wait.
}

// list is a queue that a request can leave from the middle.
type list struct {
	head, tail *request
	n          int
	loud       int // How many are not quiet.
}

func (l *list) pushBack(q *request)  { l.insert(q, l.tail, nil) }
func (l *list) pushFront(q *request) { l.insert(q, nil, l.head) }

func (l *list) insert(q, prev, next *request) {
	q.prev, q.next, q.list = prev, next, l
	if prev == nil {
		l.head = q
	} else {
		prev.next = q
	}
	if next == nil {
		l.tail = q
	} else {
		next.prev = q
	}
	l.n++
	if !q.quiet {
		l.loud++
	}
}

func (l *list) remove(q *request) {
	if q.prev == nil {
		l.head = q.next
	} else {
		q.prev.next = q.next
	}
	if q.next == nil {
		l.tail = q.prev
	} else {
		q.next.prev = q.prev
	}
	q.prev, q.next, q.list = nil, nil, nil
	l.n--
	if !q.quiet {
		l.loud--
	}
}
