package conns

import "time"

// The phases of a connection. Every step is a compare-and-swap, so that a request which
// was read is served, and one that comes after the step to phaseClosing is not.
const (
	phaseIdle    int32 = iota // There is no request, and one may come.
	phaseHeader               // Some of a request's header has come, perhaps not all.
	phaseActive               // There is a request, or HTTP/2 has streams, which the server counts.
	phaseClosing              // The connection ends without another request.
)

const (
	// lingerFor is how long a peer may take to see that its connection ends. What it has
	// sent until then is read.
	lingerFor = 250 * time.Millisecond
	// maxDiscarded bounds the bytes of it.
	maxDiscarded = 1 << 20
)

// StopAccepting closes the listener once all connections have been accepted that had
// come; [Listener.Accepted] is closed then.
func (l *Listener) StopAccepting() {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	if l.below == nil {
		_ = l.Listener.Close() // Nothing was written.
		return
	}
	l.below.Drain() // Ends Accept.
}

// Accepted is closed when the last connection was accepted after StopAccepting.
func (l *Listener) Accepted() <-chan struct{} { return l.accepted }

// GoAway sends every HTTP/2 caller a GOAWAY, also on later connections: with the next
// answer, or without one after patience.
func (l *Listener) GoAway(patience time.Duration) {
	l.requestGoAways(false, patience)
	time.AfterFunc(patience, func() { l.requestGoAways(true, patience) })
}

func (l *Listener) requestGoAways(now bool, patience time.Duration) {
	l.mu.Lock()
	l.draining, l.patience = true, patience
	all := make([]*conn, 0, len(l.open))
	for c := range l.open {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		go c.requestGoAway(now) // A caller that does not read may block it.
	}
}

// CloseIdle ends the HTTP/1 connections that have been without a request for quiet. It
// reports whether no connection is left but unused ones of HTTP/2.
func (l *Listener) CloseIdle(quiet time.Duration) bool {
	l.mu.Lock()
	var idle, over []*conn
	left := 0
	for c := range l.open {
		switch {
		case c.phase.Load() == phaseClosing:
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
		c.shutDown()
	}
	for _, c := range over {
		_ = c.drop() // Its peer has seen that nothing is read any more.
	}
	return left == 0
}

// shutDown ends c, which speaks HTTP/1, unless a request has begun. It closes the writing
// half first and goes on reading: a request may be on its way, and closing a connection
// with unread bytes resets it. So the caller sees an idle connection end before an answer
// began, as every caller has to expect, and knows that the request was not served.
func (c *conn) shutDown() {
	if !c.phase.CompareAndSwap(phaseIdle, phaseClosing) {
		return
	}
	c.since.Store(time.Now().UnixNano())
	wasParked := c.listener.lot.Remove(c)
	if c.Conn.SetReadDeadline(time.Now().Add(lingerFor)) != nil || c.CloseWrite() != nil {
		_ = c.drop() // The peer has gone.
		return
	}
	if wasParked { // Else the server reads, see [conn.Read], or is about to get it, see [conn.Unpark].
		go c.discardAndDrop()
	}
}

// discardAndDrop reads what still comes on a connection that is shut down, and closes it.
func (c *conn) discardAndDrop() {
	c.discard(make([]byte, 512))
	_ = c.drop() // No answer is due.
}

// discard reads, into b, what comes before c or its time ends.
func (c *conn) discard(b []byte) {
	for left := maxDiscarded; left > 0; {
		n, err := c.Conn.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
}
