package activator

import (
	"errors"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/lazy"
	"github.com/wadi-run/wadi/proxy/stats"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// refuse answers q with f and counts it, by f's status whatever HTTP's is: for a gRPC
// call that is 200.
func (q *request) refuse(f Refusal) {
	q.out.refusal = int32(f.Status)
	if q.done != nil && q.grant.cold == nil { // It waited in vain.
		q.grant.cold = &Phases{Queue: time.Since(q.arrived)}
	}
	if q.caller != wadi.ServiceGateway {
		f = f.inside()
	}
	if !q.quiet && !q.mirrored && f.isOutcome() {
		q.a.recorderOf(q.rev).Refused(stats.HTTP(f.Status))
	}
	if q.mirrored {
		Refuse(&q.out, q.in, f)
		return
	}
	q.a.refuse(&q.out, q.in, q.record, f)
}

// serve forwards q to one instance after another until one takes it, as far as mayRetry
// allows. In between q waits for an instance like requests that have not been sent yet.
func (q *request) serve() {
	for {
		if err := q.acquire(); err != nil {
			q.refuse(q.refusal(err))
			return
		}
		err := q.forward()
		if err == nil {
			wait := q.out.waitForClient
			if wait != nil && q.expired == nil {
				wait()
			}
			q.out.unlimitAnswer()
			if wait == nil && q.body != nil && !q.body.Ended() {
				_ = discard(&q.out, q.in) // The answer has said already that the connection closes.
			}
			return
		}
		if !q.mayRetry(err) {
			f := q.refusal(err)
			if (f.Code == CodeRequestTimeout || f.Code == CodeBadBody) && q.in.ProtoMajor == 1 {
				q.out.Header().Set("Connection", "close") // Its deadlines have passed, or the next bytes are no request.
			}
			q.refuse(f)
			return
		}
		q.a.metrics.retries.Inc()
		q.ctx = lazy.New(q.in.Context())
	}
}

// mayRetry reports whether q may be sent to an instance once more after err. A request
// that no app has seen may be sent until its wait expires; the time at instances that did
// not take it counts as waiting. A request that an app may have seen is sent once more at
// most, by the rule of [upstream.ForwardError.Retryable], and its wait begins anew.
func (q *request) mayRetry(err error) bool {
	var failed *upstream.ForwardError
	switch {
	case !errors.As(err, &failed) || q.in.Context().Err() != nil || q.body != nil && !q.body.IsWhole():
		return false
	case failed.Unseen():
		if q.waitDeadline.IsZero() {
			q.limitWait(q.arrived)
		}
		return !q.waitExpired()
	case q.repeated || !failed.Retryable(q.in):
		return false
	}
	q.repeated = true
	q.limitWait(time.Now())
	return true
}

// limitWait bounds the wait of q, which is in no list, as if it began at from.
func (q *request) limitWait(from time.Time) {
	q.waitDeadline = from.Add(q.set.Queue.Timeout.D())
	if q.waitEndsWithRequest = !q.deadline.IsZero() && q.deadline.Before(q.waitDeadline); q.waitEndsWithRequest {
		q.waitDeadline = q.deadline
	}
}

// waitExpired reports whether q, which is in no list, has waited for as long as it may.
func (q *request) waitExpired() bool {
	return !q.waitDeadline.IsZero() && !time.Now().Before(q.waitDeadline)
}

// acquire gets q a grant, at once or after a wait.
func (q *request) acquire() error {
	if q.rev.tryGrant(q) {
		return nil
	}
	size, err := q.a.budget.reserveFor(&q.rev.budgetUse, q.in)
	if err != nil {
		return err
	}
	err = q.wait()
	q.a.budget.release(&q.rev.budgetUse, size)
	if err != nil || q.a.cfg.Guard == nil {
		return err
	}
	return q.reauthorize()
}

// wait waits in the queue for a grant.
func (q *request) wait() error {
	began := time.Now()
	q.done = make(chan struct{})
	q.conn = unwatched(q.in)
	q.queueKey = q.callerKey()
	if q.waitDeadline.IsZero() {
		q.limitWait(began)
	}
	err := q.rev.wait(q.in.Context(), q)
	q.a.metrics.queue.Observe(time.Since(began).Seconds())
	return err
}

// callerKey is what the queue takes turns by: in the mesh the caller's service, outside
// its address.
func (q *request) callerKey() string {
	if q.caller == wadi.ServiceGateway && q.a.cfg.Peer != nil {
		return q.a.cfg.Peer(q.in)
	}
	return q.caller
}

// reauthorize checks that q's caller may still do what it could when it came. If not, it
// releases the grant.
func (q *request) reauthorize() error {
	err := q.a.cfg.Guard.Authorize(q.caller, q.rev.service, q.in)
	if err == nil {
		return nil
	}
	q.rev.release(q)
	return Unauthorized(err)
}

// refusal is the answer for err.
func (q *request) refusal(err error) Refusal {
	var f Refusal
	var failed *upstream.ForwardError
	switch {
	case errors.As(err, &f):
		return f
	case q.in.Context().Err() != nil:
		return clientGone()
	case errors.As(err, &failed) && failed.Unseen() && q.waitExpired():
		return q.rev.refusalWhenLate(q)
	case errors.As(err, &failed) && failed.Unseen():
		return instanceFailed("no instance took the request")
	}
	return instanceFailed("the instance failed while it had the request")
}

// endReading ends an attempt's reading of q's body, and bounds the reading of what is left.
// Where the server finds a reader at the handler's end it lifts all bounds, and waits for
// the rest of the body without one.
func (q *request) endReading() {
	if q.body == nil || q.in.ProtoMajor != 1 {
		return
	}
	q.body.Revoke()
	if !deadline.StopReading(q.out.ResponseWriter, &q.body.Reading) {
		return
	}
	q.body.Reading.Unlock()
	if !q.body.Ended() {
		deadline.EndUnread(q.out.ResponseWriter, q.in)
	}
}

// finish counts q by how it ended, and bounds what its server still does for it.
func (q *request) finish() {
	if q.out.Status != http.StatusSwitchingProtocols {
		q.endReading()
		if q.in.ProtoMajor == 1 || q.out.unflushed {
			deadline.EndAnswer(q.out.ResponseWriter, q.deadline)
		}
	}
	if !q.mirrored {
		q.a.metrics.answered(q.rev, &q.out, time.Since(q.arrived))
	}
	q.record.complete(q)
	q.a.exit()
}
