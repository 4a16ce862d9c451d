package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
)

// refusedError: there was no connection to the peer.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// unsendableError: the rules of the peer's protocol do not allow such a request.
type unsendableError struct{ err error }

func (e *unsendableError) Error() string { return e.err.Error() }
func (e *unsendableError) Unwrap() error { return e.err }

// ForwardError says why a request was not forwarded, and what the peer may have seen of it.
type ForwardError struct {
	Refused     bool   // There was no connection, or it ended before the peer read the request.
	Misdirected bool   // The peer answered 421: its app saw nothing of the request.
	BodyRead    bool   // Some of the request's body was read.
	Answered    bool   // Some of an answer was sent; the caller can only break it off.
	Unsendable  bool   // The peer's protocol can't carry the request; the peer is not to blame.
	Begun       bool   // Some of an answer came, but not a whole head. HTTP/1.1 only.
	Malformed   bool   // The answer is malformed and can't be passed on.
	Reused      bool   // The connection had carried other requests before. HTTP/1.1 only.
	Breaks      Breaks // Of the connections before the last one. HTTP/1.1 only.
	Err         error
}

func (e *ForwardError) Error() string { return "forward: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ForwardError) Unwrap() error { return e.Err }

// Gone reports whether nothing listens at the peer: the connection was refused, or the
// listener was closed while it was being opened.
func (e *ForwardError) Gone() bool {
	return errors.Is(e.Err, syscall.ECONNREFUSED) || errors.As(e.Err, new(*refusedError)) && isReset(e.Err)
}

// Unseen reports whether no app has seen anything of the request.
func (e *ForwardError) Unseen() bool { return e.Refused || e.Misdirected }

// Retryable reports whether r may be sent once more, to another instance: if the app can't
// have seen it and its body is still whole, or if it is idempotent, has no body, and nothing
// of an answer came. A request that was canceled or has expired is not retryable.
func (e *ForwardError) Retryable(r *http.Request) bool {
	if e.Answered || e.BodyRead || e.Unsendable || e.Begun || r.Context().Err() != nil {
		return false
	}
	if e.Unseen() {
		return true
	}
	return replayable(r)
}

// replayable says whether sending r twice has the effect of sending it once.
func replayable(r *http.Request) bool {
	return idempotent(r.Method) && (r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0)
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// Reason says how the peer failed; what is the peer's name in the text.
func (e *ForwardError) Reason(what string) string {
	var errno syscall.Errno
	switch {
	case e.Refused && errors.Is(e.Err, syscall.ECONNREFUSED):
		return what + " refuses connections"
	case e.Refused && isTimeout(e.Err):
		return what + " did not accept a connection in time: its listen queue is full"
	case e.Refused && errors.As(e.Err, &errno):
		return fmt.Sprintf("no connection to %s came about: %v", what, errno)
	case e.Refused:
		return what + " did not take the request"
	case e.Malformed:
		return fmt.Sprintf("%s sent a %v", what, e.Err)
	case errors.As(e.Err, new(streamError)):
		return what + " reset the stream before it answered"
	}
	return what + " broke the connection before it answered"
}

// isTimeout says whether err is a timeout.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
