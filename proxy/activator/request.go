package activator

import (
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/lazy"
	"github.com/wadi-run/wadi/proxy/list"
	"github.com/wadi-run/wadi/proxy/replay"
)

// request is one request on its way through the activator. It is in at most one list of
// its revision: in the queue, or in flight.
type request struct {
	out    response
	in     *http.Request
	a      *Activator
	rev    *revision
	set    *wadi.RouteRevision
	record *RequestRecord // Nil: none is kept.
	caller string         // As the mesh names it.

	arrived  time.Time
	body     *replay.Body
	sent     atomic.Int32  // How often it was sent to an instance.
	repeated bool          // It was sent again after an app may have seen it.
	quiet    bool          // It doesn't wake, and is not counted as activity.
	mirrored bool          // It is a copy of a request.
	mesh     bool          // It came over the mesh listener: the caller's certificate is verified.
	ctx      *lazy.Context // Of the present attempt, or of the next.
	first    lazy.Context

	// The revision's mutex guards these.
	node                list.Node[*request]
	callerNode          list.Node[*request] // Among those of its caller that wait.
	callerQueue         *callerQueue        // Nil: it does not wait.
	waitDeadline        time.Time           // Zero: it has not waited yet.
	waitEndsWithRequest bool                // waitDeadline is the whole request's, not the queue's.
	oldest              bool                // It was the oldest one waiting when the first instance became ready.
	deadline            time.Time           // Of the whole request; zero: none.
	upgraded            *deadline.Upgraded
	expired             chan struct{} // Made when its deadline has passed; closed when its connection's are set.

	queueKey string          // The caller, as the queue takes turns by it.
	conn     syscall.RawConn // The loop checks it while the request waits, if net/http doesn't; nil: it does.

	// The revision sets these before it closes done. From then on they are the request's.
	done  chan struct{}
	grant grant
	err   error
}

// grant is the right to send one request to an instance.
type grant struct {
	instance  *instance
	ejections int // The instance's count at the time.
	at        time.Time
	cold      *Phases // Nil: the request did not wait.
}
