package proxy

import (
	"context"
	"errors"
	"net/http"
	"syscall"
)

// forwardHTTP1 forwards over HTTP/1.1. The caller's own goroutine writes the head
// and reads the answer; another one sends the request's body, if there is one.
func (u *Upstream) forwardHTTP1(w http.ResponseWriter, r *http.Request) *ForwardError {
	plan, err := planHTTP1(r)
	if err != nil {
		return failedHTTP1(err)
	}
	sent := false // The peer may have seen the request.
	for again := false; ; {
		c, err := u.http1.get(r.Context(), again)
		if err != nil {
			if r.Context().Err() != nil {
				err = context.Cause(r.Context()) // Nobody refused anything.
			}
			e := failedHTTP1(err)
			e.Refused = e.Refused && !sent
			return e
		}
		reused := c.reused
		a := http1Answer{up: u, conn: c, plan: &plan, w: w, r: r}
		n, err := u.sendHead(&a)
		sent = sent || n > 0
		if n == 0 && err != nil {
			u.http1.discard(c)
			if again = again || err != errStale; reused && r.Context().Err() == nil && !errors.As(err, new(*unsendableError)) {
				continue // The peer has closed it, and seen nothing.
			}
			e := failedHTTP1(err)
			e.Reused = reused
			return e
		}
		err = a.run()
		if err == nil {
			return nil
		}
		if reused && !again && !a.heard && replayable(r) && r.Context().Err() == nil {
			again = true
			// A peer that closes with bytes unread resets the connection: then it has not
			// read the request, or not all of it. One that has died of it has.
			sent = sent && !errors.Is(err, syscall.ECONNRESET)
			continue
		}
		e := failedHTTP1(err)
		e.Reused, e.Answered = reused, a.answered
		e.Begun = a.heard && !e.Unseen() && !errors.Is(err, errCutOff)
		e.BodyRead = a.send != nil && a.send.read.Load()
		return e
	}
}

// sendHead sends the head of a request, and returns how many bytes of it are out.
// A body is on its way then, or nothing is to be sent any more.
func (u *Upstream) sendHead(a *http1Answer) (int, error) {
	c := a.conn
	buf := u.http1.buffers.small()
	head, err := a.plan.append(buf[:0], a.r, u.cfg.Header, u.fixed)
	if err == nil && c.tcp != nil && !a.plan.body {
		n, err := c.ask(head)
		a.err = err
		return n, err
	}
	n := 0
	switch {
	case err != nil:
	case c.reused && !c.isAlive():
		err = errStale
	default:
		n, err = c.Write(head)
	}
	u.http1.buffers.putHead(head)
	a.err = err
	if err == nil && a.plan.body && !a.plan.expect {
		a.send = c.upload(*a.plan, a.r)
	}
	return n, err
}

// failedHTTP1 is the error of a request that err has ended.
func failedHTTP1(err error) *ForwardError {
	var refused *refusedError
	var unsendable *unsendableError
	return &ForwardError{
		Unsendable:  errors.As(err, &unsendable),
		Refused:     errors.As(err, &refused),
		Misdirected: errors.Is(err, errMisdirected),
		Malformed:   errors.Is(err, errMalformed),
		Err:         err,
	}
}
