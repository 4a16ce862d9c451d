package upstream

import (
	"context"
	"errors"
	"net/http"
)

// forwardHTTP1 forwards over HTTP/1.1. The caller's own goroutine writes the head
// and reads the answer; another one sends the request's body, if there is one.
func (u *Upstream) forwardHTTP1(w http.ResponseWriter, r *http.Request, breaks Breaks) *ForwardError {
	plan, err := planHTTP1(r)
	if err != nil {
		return failedHTTP1(err, breaks)
	}
	for {
		c, err := u.http1.get(r.Context(), breaks.any())
		if err != nil {
			if r.Context().Err() != nil {
				err = context.Cause(r.Context()) // The peer has refused nothing.
			}
			return failedHTTP1(err, breaks)
		}
		reused := c.reused
		a := http1Answer{up: u, conn: c, plan: &plan, w: w, r: r}
		n, err := u.sendHead(&a)
		if n == 0 && err != nil {
			u.http1.discard(c)
			e := failedHTTP1(err, breaks)
			closed := !e.Unsendable && (reused || isReset(err)) // The peer has seen nothing.
			if r.Context().Err() == nil && (errors.Is(err, errStale) || closed && breaks.reset()) {
				continue
			}
			e.Refused = closed && breaks.Ended == 0 && r.Context().Err() == nil
			e.Reused = reused
			return e
		}
		err = a.run()
		if err == nil {
			return nil
		}
		if !a.heard && replayable(r) && r.Context().Err() == nil {
			// A peer may close an idle connection just when it is used again. If the peer still
			// accepts connections it has not died of the request.
			if isReset(err) && breaks.reset() || !isReset(err) && reused && breaks.ended() {
				continue
			}
		}
		e := failedHTTP1(err, breaks)
		e.Reused, e.Answered = reused, a.answered
		e.Begun = a.heard && !e.Unseen() && !errors.Is(err, errCutOff)
		e.BodyRead = a.send != nil && a.send.read.Load()
		return e
	}
}

// sendHead sends the head of a request and starts to send its body, if there is one. It
// returns how many bytes of the head were written.
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

// failedHTTP1 is the error of a request that err has ended after earlier breaks.
func failedHTTP1(err error, breaks Breaks) *ForwardError {
	var refused *refusedError
	var unsendable *unsendableError
	return &ForwardError{
		Unsendable:  errors.As(err, &unsendable),
		Refused:     errors.As(err, &refused) && breaks.Ended == 0,
		Misdirected: errors.Is(err, errMisdirected),
		Malformed:   errors.Is(err, errMalformed),
		Breaks:      breaks,
		Err:         err,
	}
}
