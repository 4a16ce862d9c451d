package proxy

import (
	"errors"
	"net/http"
)

// forwardHTTP1 forwards over HTTP/1.1. The caller's own goroutine writes the head
// and reads the answer; another one sends the request's body, if there is one.
func (u *Upstream) forwardHTTP1(w http.ResponseWriter, r *http.Request) *ForwardError {
	plan, err := planHTTP1(r)
	if err != nil {
		return failedHTTP1(err)
	}
	sent := false // The peer may have seen the request.
	for again := false; ; again = true {
		c, err := u.http1.get(r.Context(), again)
		if err != nil {
			e := failedHTTP1(err)
			e.Refused = e.Refused && !sent
			return e
		}
		reused := c.reused
		n, err := u.sendHead(c, &plan, r)
		sent = sent || n > 0
		if err != nil {
			u.http1.discard(c)
			if reused && n == 0 && !again && r.Context().Err() == nil && !errors.As(err, new(*unsendableError)) {
				continue // The peer closed it in this very moment, and has seen nothing.
			}
			e := failedHTTP1(err)
			e.Reused = reused
			return e
		}
		a := http1Answer{up: u, conn: c, plan: &plan, w: w, r: r}
		if plan.body && !plan.expect {
			a.send = c.upload(plan, r)
		}
		err = a.run()
		if err == nil {
			return nil
		}
		if reused && !again && !a.heard && replayable(r) && r.Context().Err() == nil {
			continue
		}
		e := failedHTTP1(err)
		e.Reused, e.Answered = reused, a.answered
		e.Begun = a.heard && !e.Misdirected
		e.BodyRead = a.send != nil && a.send.read.Load()
		return e
	}
}

// sendHead sends the head of r, and returns how many bytes of it are out.
func (u *Upstream) sendHead(c *http1Conn, plan *http1Plan, r *http.Request) (int, error) {
	buf := u.http1.buffers.small()
	head, err := plan.append(buf[:0], r, u.cfg.Header, u.fixed)
	n := 0
	if err == nil {
		n, err = c.Write(head)
	}
	u.http1.buffers.put(buf) // Head is in it, or has outgrown it.
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
		Err:         err,
	}
}
