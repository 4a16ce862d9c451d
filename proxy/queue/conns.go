package queue

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy/drain"
	"github.com/wadi-run/wadi/proxy/parking"
)

// conns is the listener of the traffic plane, with its open connections.
//
// It closes no connection of its own accord on which a request may just be on its
// way, as the server would: that lets a connection without a request live for as
// long as it waits for a header only, and Envoy keeps such ones in its pool.
type conns struct {
	net.Listener
	below *drain.Listener // All that checks is above it; nil where no last call is made.
	max   int
	http2 int           // Of those that speak HTTP/2; 0: no bound.
	drops bool          // One in use gives its place away, too.
	after time.Duration // How old a silence, a beginning or a use has to be for that.

	parked   *parking.Lot
	accepted chan struct{} // Closed when all have been accepted after the last call.
	over     sync.Once
	n        atomic.Int64 // How many are open.

	mu       sync.Mutex
	open     map[*conn]struct{}
	http2s   int           // How many of them speak HTTP/2.
	free     chan struct{} // Closed when a connection is; nil while nobody waits for a place.
	last     bool          // No more are accepted than have come.
	leaves   bool          // HTTP/2 callers are told to leave,
	patience time.Duration // and after this time at once.
}

func newConns(l net.Listener, below *drain.Listener, max int) *conns {
	return &conns{Listener: l, below: below, max: max, after: evictAfter, parked: parking.NewLot(l.Addr(), idleTimeout), accepted: make(chan struct{}), open: map[*conn]struct{}{}}
}

// newPlane is the listener of another plane. Nobody is to be locked out there by those
// who have come before, whatever they do: who asks for the readiness is done in no time,
// and who is the longest there, mostly because it waits for news, can ask again.
func newPlane(l net.Listener) *conns {
	out := newConns(l, nil, maxPlaneConns)
	out.drops, out.after = true, evictPlaneAfter
	return out
}

// Accept accepts the next connection. When there are too many it takes the place of
// an idle one, or of one that takes its time over a header, or waits for one that ends. After lastCall it returns
// [http.ErrServerClosed] when all have been accepted that had come.
func (l *conns) Accept() (net.Conn, error) {
	for {
		l.room()
		c, err := l.accept()
		if err != nil {
			return nil, err
		}
		if !l.many() || c.hasUnread() || !c.wait() {
			return c, nil
		}
	}
}

// many reports whether there are so many that idle ones are parked.
func (l *conns) many() bool { return l.n.Load() > parking.Beyond }

func (l *conns) accept() (*conn, error) {
	below, err := l.Listener.Accept()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if l.last {
			l.over.Do(func() { close(l.accepted) })
			return nil, http.ErrServerClosed
		}
		return nil, err
	}
	return l.add(below), nil
}

// add makes a connection of one that was accepted. The caller holds the mutex.
func (l *conns) add(below net.Conn) *conn {
	c := &conn{Conn: below, of: l}
	c.since.Store(time.Now().UnixNano())
	if l.leaves {
		c.goAway.from = time.Now().Add(l.patience / 2)
		time.AfterFunc(l.patience, func() { c.sayGoAway(true) })
	}
	l.open[c] = struct{}{}
	l.n.Store(int64(len(l.open)))
	return c
}

// room waits until another connection may be accepted.
func (l *conns) room() {
	for {
		l.mu.Lock()
		if len(l.open) < l.max || l.last {
			l.mu.Unlock()
			return
		}
		victim, phase := l.victim()
		if l.free == nil {
			l.free = make(chan struct{})
		}
		free := l.free
		l.mu.Unlock()
		if victim != nil && victim.phase.CompareAndSwap(phase, phaseLeaving) {
			_ = victim.drop() // Nobody has seen a request of it.
		}
		select {
		case <-free:
		case <-time.After(l.after): // One may be idle now.
		}
	}
}

// victim returns a connection whose place another one may take, and its phase: one that
// is idle, else one whose header is slow to come, else, where those in use are dropped,
// the one that is it the longest; nil if there seems to be none. The caller holds the mutex.
func (l *conns) victim() (slow *conn, phase int32) {
	var busy *conn
	tries := 256 // In no order. The next call sees others.
	for c := range l.open {
		if c.isIdle(l.after) {
			return c, phaseQuiet
		}
		switch old := c.quietFor() >= l.after; c.phase.Load() {
		case phaseBegun:
			if old {
				slow = c
			}
		case phaseBusy:
			if old && (busy == nil || c.since.Load() < busy.since.Load()) {
				busy = c
			}
		}
		if tries--; tries == 0 {
			break
		}
	}
	if slow == nil && l.drops {
		return busy, phaseBusy
	}
	return slow, phaseBegun
}

// speaksHTTP2 notes that c does. Such a connection is never parked, and has a buffer for
// a frame and what was sent ahead, so there is a bound of its own for them: a new one
// takes the place of an idle one. False means that there is none, and c has to end.
func (l *conns) speaksHTTP2(c *conn) bool {
	l.mu.Lock()
	c.http2.Store(true)
	l.http2s++
	var victim *conn
	if l.http2 > 0 && l.http2s > l.http2 {
		for other := range l.open {
			if other.http2.Load() && other.isIdle(l.after) {
				victim = other
				break
			}
		}
		if victim == nil {
			l.mu.Unlock()
			return false
		}
	}
	l.mu.Unlock()
	if victim != nil && victim.phase.CompareAndSwap(phaseQuiet, phaseLeaving) {
		_ = victim.drop() // It was not in use.
	}
	return true
}

// How long a connection keeps its place where all are taken. Consul's check waits a
// second for its answer.
const (
	evictAfter      = time.Second
	evictPlaneAfter = 100 * time.Millisecond
)

func (l *conns) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[c]; open && c.http2.Load() {
		l.http2s--
	}
	delete(l.open, c)
	l.n.Store(int64(len(l.open)))
	if l.free != nil {
		close(l.free)
		l.free = nil
	}
}

// count is how many are open.
func (l *conns) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// lastCall closes the listener, once all have been accepted that have come.
func (l *conns) lastCall() {
	l.mu.Lock()
	l.last = true
	l.mu.Unlock()
	if l.below == nil {
		_ = l.Listener.Close() // Nothing was written.
		return
	}
	l.below.LastCall() // Ends Accept.
}

// leave tells the callers that speak HTTP/2 to send what comes next elsewhere, and
// those that come later too: with the next answer, within patience at the latest.
func (l *conns) leave(patience time.Duration) {
	l.tell(false, patience)
	time.AfterFunc(patience, func() { l.tell(true, patience) })
}

func (l *conns) tell(now bool, patience time.Duration) {
	l.mu.Lock()
	l.leaves, l.patience = true, patience
	all := make([]*conn, 0, len(l.open))
	for c := range l.open {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		go c.sayGoAway(now) // A caller that does not read may hold it up.
	}
}

// closeIdle ends the HTTP/1 connections that have been without a request for quiet.
// It reports whether none is left, and no HTTP/2 connection that has been in use.
func (l *conns) closeIdle(quiet time.Duration) bool {
	l.mu.Lock()
	var idle, over []*conn
	left := 0
	for c := range l.open {
		switch {
		case c.phase.Load() == phaseLeaving:
			if left++; c.quietFor() > lingerFor {
				over = append(over, c)
			}
		case !c.isIdle(quiet):
			left++
		case !c.http2.Load():
			left++
			idle = append(idle, c)
		}
	}
	l.mu.Unlock()
	for _, c := range idle {
		c.leave()
	}
	for _, c := range over {
		_ = c.drop() // Its peer has heard that nothing is read any more.
	}
	return left == 0
}

// changed notes the state of a connection, for [http.Server].
func (l *conns) changed(below net.Conn, state http.ConnState) {
	c, ok := below.(*conn)
	if !ok || state == http.StateClosed { // It may be parked.
		return
	}
	switch state {
	case http.StateActive:
		if !c.phase.CompareAndSwap(phaseBegun, phaseBusy) {
			c.phase.CompareAndSwap(phaseQuiet, phaseBusy)
		}
	case http.StateIdle:
		c.since.Store(time.Now().UnixNano())
		c.phase.CompareAndSwap(phaseBusy, phaseQuiet)
	}
}
