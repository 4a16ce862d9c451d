package upstream

import (
	"errors"
	"syscall"
)

// Breaks is how often a connection broke under a request before a byte of an answer had
// come. A peer that closes a connection with bytes unread resets it: the request was not
// read, or not all of it. A connection that ends in any other way may have carried the
// request to an app that ends, or that has died of it.
type Breaks struct {
	Ended int // The app may have seen the request.
	Reset int // The app has not read all of the request.
}

// How often a request is sent again after its connection broke. An app that shuts down
// resets the connections that it has not accepted yet, and closes its idle ones just when
// requests come.
const (
	maxEnded = 1 // As every client does with a connection that was used before.
	maxReset = 2 // Once on an idle connection, once on one that the app has not accepted yet.
)

func (b Breaks) any() bool { return b != Breaks{} }

// reset notes a connection that was reset, and says whether the request may be sent again.
func (b *Breaks) reset() bool { return count(&b.Reset, maxReset) }

// ended notes a connection that ended in another way, and says the same.
func (b *Breaks) ended() bool { return count(&b.Ended, maxEnded) }

func count(n *int, most int) bool {
	if *n == most {
		return false
	}
	*n++
	return true
}

// isReset says whether err means that the peer has closed the connection with bytes unread,
// or before they came.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
