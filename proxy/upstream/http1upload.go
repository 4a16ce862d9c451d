package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// chunkHead is the space for a chunk's size line, before its bytes.
	chunkHead = 16
	// lastWrite is how long the end of a body that was read whole may take to be written to a
	// peer that has answered already.
	lastWrite = time.Second
	// discardTime and discardBytes bound what is read of an unwanted body, so that its sender
	// reads the answer.
	discardTime  = 5 * time.Second
	discardBytes = 256 << 10
)

// upload sends a request's body beside the answer.
type upload struct {
	conn *http1Conn
	plan http1Plan
	body io.Reader
	r    *http.Request // For its trailers, which are there when the body has ended.

	read  atomic.Bool               // Some of the body was read.
	ended atomic.Bool               // All of it was.
	fault atomic.Pointer[bodyError] // Why it could not be read; set before the connection is closed.
	done  chan struct{}
	err   error // Why not all was sent; valid when done is closed.
}

func (c *http1Conn) upload(p http1Plan, r *http.Request) *upload {
	u := &upload{conn: c, plan: p, body: r.Body, r: r, done: make(chan struct{})}
	go u.run() // It ends with the body or the connection; see settle.
	return u
}

func (u *upload) run() {
	defer close(u.done)
	var buf []byte
	if u.plan.length < 0 || u.plan.length > smallBuffer {
		buf, _ = u.conn.pool.buffers.spare()
	}
	if buf == nil {
		buf = u.conn.pool.buffers.small()
	}
	defer u.conn.pool.buffers.put(buf)
	u.err = u.send(buf)
}

// send writes the body as it comes. If the body can't be read to its end the connection is
// closed, so that the app does not take it for complete.
func (u *upload) send(buf []byte) error {
	left := u.plan.length
	for {
		space := buf
		if left < 0 {
			space = buf[chunkHead : len(buf)-chunkHead]
		}
		n, err := u.body.Read(space)
		if n > 0 {
			u.read.Store(true)
		}
		if left >= 0 {
			if int64(n) > left || err == io.EOF && int64(n) < left {
				err = errors.New("a body that is not as long as it says")
			}
			if left -= int64(n); left == 0 && err == nil {
				err = io.EOF // Some bodies return it only from another read.
			}
		}
		if err == io.EOF {
			u.ended.Store(true)
		}
		if err != nil && err != io.EOF {
			u.fault.Store(&bodyError{err})
			u.conn.interruptIO() // Ends the reading of the answer, too.
			return err
		}
		if werr := u.write(buf, n, err == io.EOF); werr != nil {
			return fmt.Errorf("send body: %w", werr)
		}
		if err == io.EOF {
			return nil
		}
	}
}

// write writes the n bytes that were read, and the body's end if end is set.
func (u *upload) write(buf []byte, n int, end bool) error {
	if u.plan.length >= 0 {
		if n == 0 {
			return nil
		}
		_, err := u.conn.Write(buf[:n])
		return err
	}
	out := buf[chunkHead:chunkHead]
	if n > 0 {
		var size [chunkHead]byte
		head := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
		from := chunkHead - len(head)
		copy(buf[from:], head)
		out = append(buf[from:chunkHead+n], "\r\n"...)
	}
	if end {
		out = append(appendTrailers(append(out, "0\r\n"...), u.r.Trailer), "\r\n"...)
	}
	if len(out) == 0 {
		return nil
	}
	_, err := u.conn.Write(out)
	return err
}

// discard reads the rest of the body, within discardBytes; the caller has set a deadline.
func (u *upload) discard() {
	buf := u.conn.pool.buffers.large()
	defer u.conn.pool.buffers.put(buf)
	for n, left := 0, discardBytes; left > 0 && !u.ended.Load(); left -= n {
		var err error
		if n, err = u.body.Read(buf); err == io.EOF {
			u.ended.Store(true)
		} else if err != nil {
			return
		}
	}
}

// sent says, after the answer, whether the whole body was sent, so that the connection may be
// used again.
func (u *upload) sent(w http.ResponseWriter) bool {
	select {
	case <-u.done:
		return u.err == nil
	default:
	}
	if !u.ended.Load() {
		return false
	}
	_ = flush(w) // What fails here fails again at the end.
	late := time.NewTimer(lastWrite)
	defer late.Stop()
	select {
	case <-u.done:
		return u.err == nil
	case <-late.C:
		return false
	}
}

// settle ends an upload whose answer has ended first, and whose connection is closed. A caller
// over HTTP/1 that still sends gets the answer and some time to stop: with unread bytes the
// system would reset its connection, and the answer would be lost. Known says that the caller
// knows already that the answer is complete. The app is done with the request, so a writer
// that is a [Deferrer] waits later, when what is held for the app was given back.
func (u *upload) settle(w http.ResponseWriter, known bool) {
	if u.r.ProtoMajor != 1 || u.ended.Load() {
		return // The server of HTTP/2 ends the reading with the request.
	}
	c := http.NewResponseController(w)
	_ = c.Flush() // What fails here fails again below.
	patience := discardTime
	if !known {
		patience = discardTime / 10
	}
	wait := func() {
		if c.SetReadDeadline(time.Now().Add(patience)) == nil { // Else w is not a server's.
			<-u.done // Its connection is closed: nothing more can be sent.
			u.discard()
		}
	}
	if l, ok := w.(Deferrer); ok {
		l.Later(wait)
		return
	}
	wait()
}

// bodyError: the caller's body could not be read.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }
