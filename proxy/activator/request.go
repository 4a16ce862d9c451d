package activator

import (
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/list"
	"github.com/wadi-run/wadi/proxy/replay"
)

// request is one request on its way through. It is in at most one of its
// revision's lists: it waits, or it is at an instance.
type request struct {
	out    response
	in     *http.Request
	a      *Activator
	rev    *revision
	set    *wadi.RouteRevision
	record *RequestRecord // Nil: none is kept.
	caller string         // As the mesh names it.
	mesh   bool           // It came over the mesh listener: the caller's certificate is verified.

	arrived time.Time
	quiet   bool // Doesn't wake, and is not counted as activity.
	body    *replay.Body
	sent    atomic.Int32 // How often it was sent to an instance.
	// It was sent again after an app may have seen it.
	repeated bool
	ctx      *attempt // Of the present attempt, or of the next.
	first    attempt

	// Guarded by the revision's mutex.
	node                list.Node[*request]
	callerNode          list.Node[*request] // Among those of its caller that wait.
	callerQueue         *callerQueue        // Nil: it does not wait.
	waitDeadline        time.Time           // Of the waiting.
	waitEndsWithRequest bool                // The above is the whole request's end, not the queue's.
	deadline            time.Time           // Of the whole request; zero is never.
	upgraded            *deadline.Upgraded
	expired             chan struct{} // Made when its time is over; closed when that is dealt with.
	oldest              bool          // It was the oldest that waited when the first instance came.

	queueKey string          // Whose it is, when it has to wait.
	conn     syscall.RawConn // Looked at by the loop while r waits, if net/http doesn't.

	// Set before done is closed, and the request's own from then on.
	done  chan struct{}
	grant grant
	err   error
}

// grant is the right to send one request to an instance.
type grant struct {
	instance *instance
	// ejections is the instance's count when it was granted.
	ejections int
	at        time.Time
	cold      *Phases // Nil: it had not to wait.
}
