package proxy

import (
	"context"
	"errors"
	"syscall"
	"time"
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
// which requests come. Go's own server does more: in its Shutdown it reads a request, on a
// new connection too, and closes that without an answer. Nothing tells that from an app
// which has died of the request. So one that kills is run twice, not more, and three
// times if half of it is enough.
const (
	maxEnded = 1
	maxReset = 2 // Once on an idle connection, once on one that waits to be accepted.

	// endedPause is how long a request waits that an app may have seen: one that ends well
	// drops requests before it has closed its listener. It is Envoy's pause too.
	endedPause = 25 * time.Millisecond
)

func (b Breaks) any() bool { return b != Breaks{} }

// reset notes a connection that was reset, and says whether the request may be sent again.
func (b *Breaks) reset() bool { return count(&b.Reset, maxReset) }

// ended notes one that ended in another way, and says the same.
func (b *Breaks) ended() bool { return count(&b.Ended, maxEnded) }

// pause waits before a request is sent again, or until it is over.
func (b *Breaks) pause(ctx context.Context) {
	if b.Ended == 0 {
		return
	}
	t := time.NewTimer(endedPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

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
