// Package conns is the listener of a queue-proxy's HTTP server, and knows its open
// connections.
//
// It promises that a connection is accepted although all slots are taken, if an open one
// can be spared; that many idle connections cost the process next to nothing; and that a
// drain loses no request: a connection is closed only when no request can be on its way.
// It never reads or answers a request itself, but refuses malformed HTTP/1 by package
// framing.
package conns

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/drain"
	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/parking"
)

// Bounds of the connections, which the server needs too.
const (
	// IdleTimeout is how long a connection of the traffic plane may be without a request.
	IdleTimeout = proxy.EnvoysIdleTimeout
	// ReadHeaderTimeout is how long a request's header may take, from its first byte.
	ReadHeaderTimeout = 10 * time.Second

	maxTraffic = 16384 // Open connections of the traffic plane.
	maxPlane   = 256   // Open connections of any other plane.
)

// Listener accepts the connections of one plane, and is the server's ConnState. [Traffic]
// and [Plane] make one.
//
// It closes no connection on which a request may be on its way. The server itself would:
// it lets a connection without a first request live for the time of a header only, and
// Envoy keeps such connections in its pool.
type Listener struct {
	net.Listener
	below      *drain.Listener // Below the checks of requests; nil where no drain is needed.
	max        int
	maxHTTP2   int           // Of them, those that speak HTTP/2; 0: no bound.
	evictsBusy bool          // A connection in use may be evicted, too.
	evictAfter time.Duration // Age of a silence, of a header or of a use that allows eviction.

	lot         *parking.Lot
	accepted    chan struct{} // Closed when all have been accepted after StopAccepting.
	acceptedAll sync.Once
	n           atomic.Int64 // Open connections.

	mu        sync.Mutex
	open      map[*conn]struct{}
	http2s    int           // Open connections that speak HTTP/2.
	slotFreed chan struct{} // Closed when a connection is; nil while Accept waits for no slot.
	stopping  bool          // StopAccepting was called.
	draining  bool          // GoAway was called.
	patience  time.Duration // Time after which a GOAWAY no longer waits for an answer.
}

// Traffic returns the listener of the traffic plane, with at most maxHTTP2 connections
// of HTTP/2 (0: no bound). Malformed requests of HTTP/1 are refused and reported to
// refused, which must not block.
func Traffic(below *drain.Listener, maxHTTP2 int, refused func(framing.Reason)) *Listener {
	l := newListener(framing.Listen(below, checks(refused)), maxTraffic)
	l.below, l.maxHTTP2 = below, maxHTTP2
	return l
}

// checks configures how requests are checked. A connection before its first request has
// as much time as an idle one: callers keep such connections.
func checks(refused func(framing.Reason)) framing.Config {
	return framing.Config{HTTP2: true, Silence: IdleTimeout, Header: ReadHeaderTimeout, Refused: refused}
}

// Plane returns the listener of another plane, where early callers must not lock out
// later ones: the connection that is in use for the longest is evicted. A check of
// readiness is done at once, and a caller that waits for news can ask again.
func Plane(below net.Listener) *Listener {
	l := newListener(below, maxPlane)
	l.evictsBusy, l.evictAfter = true, evictPlaneAfter
	return l
}

func newListener(l net.Listener, max int) *Listener {
	return &Listener{Listener: l, max: max, evictAfter: evictAfter, lot: parking.NewLot(l.Addr(), IdleTimeout), accepted: make(chan struct{}), open: map[*conn]struct{}{}}
}

// Accept accepts the next connection on which a request may come; when there are many,
// one that has sent nothing yet is parked first. When all slots are taken it evicts a
// connection or waits for one that ends. After StopAccepting it returns
// [http.ErrServerClosed] when all have been accepted that had come.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		l.awaitSlot()
		c, err := l.accept()
		if err != nil {
			return nil, err
		}
		if !l.crowded() || c.hasUnread() || !c.enterLot() {
			return c, nil
		}
	}
}

// Parked is the listener by which the server gets parked connections back. The server
// serves it, too.
func (l *Listener) Parked() net.Listener { return l.lot }

// crowded reports whether there are so many connections that idle ones are parked.
func (l *Listener) crowded() bool { return l.n.Load() > parking.Threshold }

func (l *Listener) accept() (*conn, error) {
	below, err := l.Listener.Accept()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if l.stopping {
			l.acceptedAll.Do(func() { close(l.accepted) })
			return nil, http.ErrServerClosed
		}
		return nil, err
	}
	return l.add(below), nil
}

// add wraps an accepted connection. The caller holds the mutex.
func (l *Listener) add(below net.Conn) *conn {
	c := &conn{Conn: below, listener: l}
	c.since.Store(time.Now().UnixNano())
	if l.draining {
		c.goAway.notBefore = time.Now().Add(l.patience / 2)
		time.AfterFunc(l.patience, func() { c.requestGoAway(true) })
	}
	l.open[c] = struct{}{}
	l.n.Store(int64(len(l.open)))
	return c
}

func (l *Listener) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[c]; open && c.http2.Load() {
		l.http2s--
	}
	delete(l.open, c)
	l.n.Store(int64(len(l.open)))
	if l.slotFreed != nil {
		close(l.slotFreed)
		l.slotFreed = nil
	}
}

// Len is the number of open connections.
func (l *Listener) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// ConnState notes the state of a connection, for [http.Server].
func (l *Listener) ConnState(below net.Conn, state http.ConnState) {
	c, ok := below.(*conn)
	if !ok || state == http.StateClosed { // It may be parked.
		return
	}
	switch state {
	case http.StateActive:
		if !c.phase.CompareAndSwap(phaseHeader, phaseActive) {
			c.phase.CompareAndSwap(phaseIdle, phaseActive)
		}
	case http.StateIdle:
		c.since.Store(time.Now().UnixNano())
		c.phase.CompareAndSwap(phaseActive, phaseIdle)
	}
}
