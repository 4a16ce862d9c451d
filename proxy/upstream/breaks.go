package upstream

import (
	"errors"
	"syscall"
)

// Breaks is how often a connection broke under a request before a byte of an answer had
// come. Who closes a connection with bytes unread resets it: then the request was not
// read, or not all of it. One that ends in any other way may have carried the request to
// an app that ends, or that has died of it.
type Breaks struct {
	Ended int // The request may have been seen.
	Reset int // The request was not read whole.
}

// How often a request is sent again after its connection broke. An app that ends well
// resets what it has not accepted yet, and closes its idle connections in the moment in
// which requests come.
const (
	maxEnded = 1 // As every client does it, with a connection that was used before.
	maxReset = 2 // Once on an idle connection, once on one that waits to be accepted.
)

func (b Breaks) any() bool { return b != Breaks{} }

// reset notes a connection that was reset, and says whether the request may be sent again.
func (b *Breaks) reset() bool { return count(&b.Reset, maxReset) }

// ended notes one that ended in another way, and says the same.
func (b *Breaks) ended() bool { return count(&b.Ended, maxEnded) }

func count(n *int, most int) bool {
	if *n == most {
		return false
	}
	*n++
	return true
}

// isReset says whether err is of a connection whose peer has closed it with bytes unread,
// or before they came.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
