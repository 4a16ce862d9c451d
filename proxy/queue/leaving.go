package queue

import "time"

// The phases of a connection. Who moves it on by a compare-and-swap has it: a request
// that was read is served, and one that comes when the connection is left is not.
const (
	phaseQuiet   int32 = iota // There is no request, and one may come.
	phaseBegun                // Something of a request's header has come, and maybe not all.
	phaseBusy                 // There is one. HTTP/2's streams are the server's affair.
	phaseLeaving              // It ends, without another one.
)

const (
	// lingerFor is how long a peer may take to hear that its connection ends, and what
	// it has sent until then to come.
	lingerFor = 250 * time.Millisecond
	// maxSwallowed is how much of that is read.
	maxSwallowed = 1 << 20
)

// leave ends c, which speaks HTTP/1, unless a request has come. First it says that
// nothing more is sent, and goes on reading: a request may have been on its way, and a
// connection that is closed with bytes unread is reset. So its caller sees that an idle
// connection has ended before an answer began, as all have to expect of one, and
// that nobody serves the request.
func (c *conn) leave() {
	if !c.phase.CompareAndSwap(phaseQuiet, phaseLeaving) {
		return
	}
	c.since.Store(time.Now().UnixNano())
	wasParked := c.of.parked.Remove(c)
	if c.Conn.SetReadDeadline(time.Now().Add(lingerFor)) != nil || c.CloseWrite() != nil {
		_ = c.drop() // The peer has gone.
		return
	}
	if wasParked { // Else the server reads, see [conn.Read], or is about to get it, see [conn.Again].
		go c.lastWords()
	}
}

// lastWords reads what still comes on one that is left, and closes it.
func (c *conn) lastWords() {
	c.swallow(make([]byte, 512))
	_ = c.drop() // Nobody waits for an answer.
}

// swallow reads what comes before the end of c, or of its time. Nobody sees it.
func (c *conn) swallow(b []byte) {
	for left := maxSwallowed; left > 0; {
		n, err := c.Conn.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
}
