package upstream

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

const (
	// continueWait is how long a body waits for the peer's 100 Continue.
	continueWait = time.Second
	// maxInformational bounds the informational answers before the final one.
	maxInformational = 32
	// spliceFrom is how long a body must be, in bytes, to go from socket to socket, and
	// spliceStep how much goes at once: after each step the deadlines see progress.
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
	send *upload // Nil: there is no body, or it waits for 100 Continue.
	err  error   // Why sending the request or waiting for its answer failed.

	heard     bool // Some of an answer came.
	answered  bool // Some was passed on.
	unflushed bool // Some of that may still be buffered.
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
	if a.up.cfg.Leaving != nil {
		a.up.noteOrder(h.get(wadi.HeaderOrder))
	}
	if h.status == http.StatusMisdirectedRequest && a.up.instance != "" && h.get(wadi.HeaderInstance) != a.up.instance {
		return a.failed(errMisdirected) // To an app's own 421 its queue-proxy adds the instance's name.
	}
	if err := a.envoysFault(); err != nil {
		return a.failed(err)
	}
	a.setHeader()
	if a.pendingBody() && a.r.ProtoMajor == 1 {
		// The answer came before the end of the request. Without full duplex the server would
		// read the rest of the body before it sends the answer. With it the server must not use
		// the connection again: it reads ahead before the handler ends.
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

// end gives the connection back, or closes it if more bytes may come on it.
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

// certain says whether nothing can follow the answer. Some apps send a body where none is
// allowed, with a length or without, and often after the head: on a connection that is used
// again it would become another caller's answer.
func (a *http1Answer) certain() bool {
	h := &a.conn.head
	if h.hasBody(a.r.Method) {
		return true
	}
	return a.up.cfg.Wadi && (bodyAllowed(h.status) || !h.promisesBody())
}

// failed ends the connection. It returns err, or the caller's error if the caller was the
// cause.
func (a *http1Answer) failed(err error) error {
	if a.conn.reused && errors.Is(err, errMalformed) {
		a.conn.pool.distrust() // It may be the rest of an earlier answer.
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

// final reads heads up to the final answer's, and passes the informational ones on.
func (a *http1Answer) final() error {
	if a.err != nil {
		return a.err
	}
	waiting := a.plan.expect && a.send == nil
	for range maxInformational {
		if waiting && !a.conn.limitRead(time.Now().Add(continueWait)) {
			return os.ErrDeadlineExceeded // The request has expired or was canceled.
		}
		err := a.conn.readHead()
		a.heard = a.heard || err == nil || a.conn.w > 0
		if waiting {
			// The end of the request also ends the read by a deadline, so both are checked.
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

// goOn lets the caller send its body.
func (a *http1Answer) goOn() {
	if a.r.ProtoMajor == 1 {
		a.w.WriteHeader(http.StatusContinue)
	}
	a.send = a.conn.upload(*a.plan, a.r)
}

// inform passes an informational answer on, but no 100 Continue: the caller gets that from
// goOn, if it asked for it.
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
		header["Content-Length"] = []string{"0"} // Without it some clients wait for a body.
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
