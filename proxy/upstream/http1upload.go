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
	// chunkHead is room for the size of a chunk, before it.
	chunkHead = 16
	// lastWrite is how long the end of a body, all of it here, may take to reach a
	// peer that has answered already.
	lastWrite = time.Second
	// discardTime and discardBytes bound what is read of a body that nobody wants,
	// so that its sender gets to the answer.
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
	fault atomic.Pointer[bodyError] // Why it could not be read, before the connection is closed.
	done  chan struct{}
	err   error // Why it did not send all; valid when done is closed.
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

// send writes the body as it comes. When it can't be read to its end the
// connection is closed, so that the app can't take it for whole.
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
				err = io.EOF // Some bodies say so only when they are read again.
			}
		}
		if err == io.EOF {
			u.ended.Store(true)
		}
		if err != nil && err != io.EOF {
			u.fault.Store(&bodyError{err})
			u.conn.interruptIO() // Whoever reads from it hears of it.
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

// write writes the n bytes that were read, and the end of the body if it is that.
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

// discard reads on when the sending has ended, within bounds that whoever waits has set.
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

// sent says, after the answer, whether the peer was sent the whole body, so that
// the connection may be used again.
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

// settle ends an upload whose answer has ended before it, and whose connection is
// closed. A caller in HTTP/1 that still sends gets the answer, and time to stop:
// with bytes unread its connection would be reset, and the answer lost. Known says
// that the answer is complete as it is; else its end comes after this. The app has done
// with the request, so that a writer may have the waiting done later: when what is held
// for the app has been given back.
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
		if c.SetReadDeadline(time.Now().Add(patience)) == nil { // Else it is no server's.
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
