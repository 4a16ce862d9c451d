package upstream

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

const (
	// continueWait is how long a body waits for the peer's leave to come.
	continueWait = time.Second
	// maxInformational bounds how many answers that are none yet come before one.
	maxInformational = 32
	// spliceFrom is how long a body must be to go from socket to socket, and
	// spliceStep how much goes at once: then timeouts hear of it.
	spliceFrom = 256 << 10
	spliceStep = 1 << 20
)

// http1Answer passes the answer of one request on. It is used once.
type http1Answer struct {
	up   *Upstream
	conn *http1Conn
	plan *http1Plan
	w    http.ResponseWriter
	r    *http.Request
	send *upload // Nil: there is no body, or it waits for leave.
	err  error   // How sending the request failed, or waiting for its answer.

	heard     bool // Some of an answer came.
	answered  bool // Some was passed on.
	unflushed bool // Some of that may not be on its way yet.
}

// run reads the answer and passes it on. The connection is given back or closed.
// An error says that nothing of a final answer was passed on.
func (a *http1Answer) run() error {
	if err := a.final(); err != nil {
		return a.failed(err)
	}
	a.up.answers.Add(1)
	h := &a.conn.head
	if h.status == http.StatusSwitchingProtocols {
		return a.tunnel()
	}
	if a.up.cfg.Goes != nil {
		a.up.toldToGo(h.get(wadi.HeaderOrder))
	}
	if h.status == http.StatusMisdirectedRequest && a.up.instance != "" && h.get(wadi.HeaderInstance) != a.up.instance {
		return a.failed(errMisdirected) // An app may answer 421 too; its queue-proxy then names this instance.
	}
	if err := a.envoysFault(); err != nil {
		return a.failed(err)
	}
	a.setHeader()
	if a.pendingBody() && a.r.ProtoMajor == 1 {
		// The answer came before the end of the request. Without this the server
		// would read the rest of the body before the answer goes out. It must not
		// use the connection again then: it reads ahead of the handler's end.
		a.w.Header().Set("Connection", "close")
		_ = http.NewResponseController(a.w).EnableFullDuplex() // A recorder in a test can't; nothing is lost.
	}
	a.answered, a.unflushed = true, true
	a.w.WriteHeader(h.status)
	if err := a.passBody(); err != nil {
		a.conn.pool.abandon(a.conn, a.w)
		panic(http.ErrAbortHandler) // The caller's stream must break as this one did.
	}
	a.end()
	return nil
}

// pendingBody says whether some of the request's body is still to come.
func (a *http1Answer) pendingBody() bool {
	return a.plan.body && (a.send == nil || !a.send.ended.Load())
}

// end gives the connection back, or closes it where something may still be under
// way on it.
func (a *http1Answer) end() {
	c := a.conn
	known := c.head.length >= 0 || !c.head.hasBody(a.r.Method)
	whole := !a.plan.body || a.send != nil && a.send.sent(a.w)
	if len(c.buffered()) > 0 {
		c.pool.distrust()
	} else if whole && !c.head.last && a.certain() {
		c.pool.put(c)
		return
	}
	c.pool.discard(c)
	if a.send != nil && !whole {
		a.send.settle(a.w, known)
	}
}

// certain says whether nothing can follow the answer. Many an app sends a body all the
// same where there may be none, with a length or without, and often after the head:
// on a connection that is used again it would be another caller's answer.
func (a *http1Answer) certain() bool {
	h := &a.conn.head
	if h.hasBody(a.r.Method) {
		return true
	}
	return a.up.cfg.Wadi && (bodyAllowed(h.status) || !h.promisesBody())
}

// failed ends the connection, and says why in the caller's words if it was the
// caller.
func (a *http1Answer) failed(err error) error {
	if a.conn.reused && errors.Is(err, errMalformed) {
		a.conn.pool.distrust() // It may be what was left of an answer before.
	}
	a.conn.pool.abandon(a.conn, a.w)
	if a.send != nil {
		if fault := a.send.fault.Load(); fault != nil {
			err = fault
		}
	}
	if ctx := a.r.Context(); ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// final reads heads up to that of the final answer, and passes on those before.
func (a *http1Answer) final() error {
	if a.err != nil {
		return a.err
	}
	waiting := a.plan.expect && a.send == nil
	for range maxInformational {
		if waiting && !a.conn.limitRead(time.Now().Add(continueWait)) {
			return os.ErrDeadlineExceeded // The request's time is over, or its caller gone.
		}
		err := a.conn.readHead()
		a.heard = a.heard || err == nil || a.conn.w > 0
		if waiting {
			// The end of the request ends the reading in the same way as this wait.
			late := a.conn.limitRead(time.Time{}) && errors.Is(err, os.ErrDeadlineExceeded)
			if late || err == nil && a.conn.head.status == http.StatusContinue {
				waiting = false
				a.goOn()
			}
			if late {
				err = a.conn.readHead()
			}
		}
		if err != nil {
			return err
		}
		if status := a.conn.head.status; status >= 200 || status == http.StatusSwitchingProtocols {
			return nil
		}
		a.inform()
	}
	return malformed("too many informational answers")
}

// goOn gives the caller leave to send its body.
func (a *http1Answer) goOn() {
	if a.r.ProtoMajor == 1 {
		a.w.WriteHeader(http.StatusContinue)
	}
	a.send = a.conn.upload(*a.plan, a.r)
}

// inform passes an informational answer on. Leave to send a body is the caller's
// only if it asked, and was given then.
func (a *http1Answer) inform() {
	h := &a.conn.head
	if h.status == http.StatusContinue || !a.r.ProtoAtLeast(1, 1) {
		return
	}
	header := a.w.Header()
	kept := header.Clone()
	clear(header)
	for _, f := range h.fields {
		header.Add(f.name, f.value)
	}
	proxy.StripInternal(header)
	a.w.WriteHeader(h.status)
	clear(header)
	maps.Copy(header, kept)
}

// setHeader adds the answer's header to what w has already.
func (a *http1Answer) setHeader() {
	h, header := &a.conn.head, a.w.Header()
	values := make([]string, 0, len(h.fields))
	for _, f := range h.fields {
		if !a.up.mayAnswer(f.name) {
			continue
		}
		if f.name == "Content-Length" && (h.status == http.StatusNoContent || h.status == http.StatusResetContent) {
			continue
		}
		if old := header[f.name]; len(old) > 0 {
			header[f.name] = append(old, f.value)
			continue
		}
		values = append(values, f.value)
		header[f.name] = values[len(values)-1 : len(values) : len(values)]
	}
	if h.status == http.StatusResetContent {
		header["Content-Length"] = []string{"0"} // Some read a body else.
	}
	if !h.typed {
		if _, ok := header["Content-Type"]; !ok {
			header["Content-Type"] = nil // The server would guess one.
		}
	}
	if len(h.trailer) > 0 && h.chunked {
		header["Trailer"] = h.trailer
	}
}

// passBody passes the body on, as it comes.
func (a *http1Answer) passBody() error {
	switch h := &a.conn.head; {
	case !h.hasBody(a.r.Method):
		return nil
	case h.chunked:
		return a.passChunks()
	case h.length >= 0:
		return a.passLength(h.length)
	}
	a.conn.head.last = true
	return a.passAll()
}

// passAll passes on what comes until the peer closes.
func (a *http1Answer) passAll() error {
	for passed := int64(0); ; {
		n, err := a.pass(int64(len(a.conn.buffered())))
		if err != nil {
			return err
		}
		if passed += n; passed > smallBuffer {
			a.conn.widen()
		}
		if err := a.more(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// more waits for bytes from the peer. Before it does, what has come is sent.
func (a *http1Answer) more() error {
	if a.unflushed {
		a.unflushed = false
		if err := flush(a.w); err != nil {
			return err
		}
	}
	return a.conn.fill()
}

// pass writes up to n of the buffered bytes.
func (a *http1Answer) pass(n int64) (int64, error) {
	b := a.conn.buffered()
	if int64(len(b)) > n {
		b = b[:n]
	}
	if len(b) == 0 {
		return 0, nil
	}
	m, err := a.w.Write(b)
	a.conn.take(m)
	a.unflushed = true
	return int64(m), err
}

// passLength passes a body of n bytes on.
func (a *http1Answer) passLength(n int64) error {
	for n > 0 {
		if len(a.conn.buffered()) == 0 {
			if n >= spliceFrom && a.conn.tcp != nil && a.r.ProtoMajor == 1 && a.r.TLS == nil {
				if to, ok := a.w.(io.ReaderFrom); ok {
					return a.splice(to, n)
				}
			}
			if n > smallBuffer {
				a.conn.widen()
			}
			if err := a.more(); err != nil {
				return unexpected(err)
			}
		}
		m, err := a.pass(n)
		if err != nil {
			return err
		}
		n -= m
	}
	return nil
}

// splice passes n bytes on without reading them.
func (a *http1Answer) splice(to io.ReaderFrom, n int64) error {
	if err := flush(a.w); err != nil {
		return err
	}
	a.unflushed = false
	part := &io.LimitedReader{R: a.conn.tcp}
	for n > 0 {
		part.N = min(n, spliceStep)
		m, err := to.ReadFrom(part)
		n -= m
		if err != nil {
			return err
		}
		if part.N > 0 {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// flush sends what w holds, if it is one that holds something.
func flush(w http.ResponseWriter) error {
	if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// unexpected makes the end of a stream one that comes too early.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
