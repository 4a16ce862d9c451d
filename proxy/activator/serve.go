package activator

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/replay"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// MeshHandler serves requests of mesh callers whom g lets pass. Their own Envoys
// name service and revision in headers, set by the leg of the splitter that they
// took. A caller may claim any of them: that is why it is judged by its own name
// and the service's intentions, before anything is done for it.
func (a *Activator) MeshHandler(g Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service, revision := r.Header.Get(wadi.HeaderService), r.Header.Get(wadi.HeaderRevision)
		record := a.recordOf(r)
		record.setTarget(service, revision)
		caller, err := authorize(g, service, r)
		record.setCaller(caller)
		if err != nil {
			if isDenied(err) {
				w.Header().Set("Connection", "close") // It has no use for one, over HTTP/2 neither.
			}
			a.refuseFor(w, r, record, err)
			return
		}
		if (*a.deleted.Load())[service] {
			a.refuse(w, r, record, isDeleted(service))
			return
		}
		if service == "" || revision == "" {
			a.refuse(w, r, record, noTarget())
			return
		}
		if rev := (*a.revisions.Load())[revision]; rev == nil || rev.service != service {
			a.refuse(w, r, record, notYetKnown(service, revision))
			return
		}
		a.serve(w, r, record, call{service, revision, caller, true})
	})
}

// ServeRevision answers r, of a caller outside the mesh, by an instance of
// revision, which it waits for and wakes if there is none. Wadi's internal headers
// of r don't reach it.
func (a *Activator) ServeRevision(w http.ResponseWriter, r *http.Request, service, revision string) {
	record := a.recordOf(r)
	record.setTarget(service, revision)
	a.serve(w, r, record, call{service, revision, wadi.ServiceGateway, false})
}

// call is who calls what.
type call struct {
	service, revision, caller string
	mesh                      bool // Over the mesh listener.
}

// serve is small on the stack, like others on the way to waiting: of a request that
// waits, net/http's stack grows from 4 to 8 KiB where a little more is needed.
func (a *Activator) serve(w http.ResponseWriter, r *http.Request, record *RequestRecord, c call) {
	rev, err := a.admit(c)
	if err != nil {
		a.refuseFor(w, r, record, err)
		return
	}
	q := a.newRequest(w, r, rev, record, c)
	defer q.finish()
	if q.set.Failed != "" {
		q.refuse(hasFailed(rev.id, q.set.Failed))
		return
	}
	if !q.quiet {
		rec := a.recorderOf(rev)
		rec.Enter(false)
		defer rec.Leave(false)
	}
	q.serve()
}

// admit finds a revision and counts a request in, or says why not.
func (a *Activator) admit(c call) (*revision, error) {
	rev := (*a.revisions.Load())[c.revision]
	if rev == nil || rev.service != c.service {
		return nil, unknownRevision(c.service, c.revision)
	}
	if !a.enter() {
		return nil, shuttingDown()
	}
	return rev, nil
}

func (a *Activator) newRequest(w http.ResponseWriter, r *http.Request, rev *revision, record *RequestRecord, c call) *request {
	q := &request{in: r, a: a, rev: rev, set: rev.settings.Load(), record: record, caller: c.caller, mesh: c.mesh, arrived: time.Now()}
	q.first.client = r.Context()
	q.ctx = &q.first
	q.out = response{ResponseWriter: w, q: q}
	q.quiet = slices.Contains(q.set.Queue.Quiet, r.URL.Path)
	if t := q.set.Timeout.Request.D(); t > 0 {
		q.deadline = q.arrived.Add(t)
	}
	if r.Body != nil && r.Body != http.NoBody {
		q.body = replay.New(r.Body, r.ContentLength, replay.MaxKept)
	}
	record.setArrived(q.arrived)
	return q
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
	if q.out.status != http.StatusSwitchingProtocols {
		q.endReading()
		if q.in.ProtoMajor == 1 || q.out.unflushed {
			deadline.EndAnswer(q.out.ResponseWriter, q.deadline)
		}
	}
	q.a.metrics.answered(q.rev, &q.out, time.Since(q.arrived))
	q.record.complete(q)
	q.a.exit()
}

// refuseFor answers with err, a Refusal.
func (a *Activator) refuseFor(w http.ResponseWriter, r *http.Request, record *RequestRecord, err error) {
	var f Refusal
	errors.As(err, &f)
	a.refuse(w, r, record, f)
}

// refuse answers with f and counts it.
func (a *Activator) refuse(w http.ResponseWriter, r *http.Request, record *RequestRecord, f Refusal) {
	a.metrics.refusals.WithLabelValues(f.Code).Inc()
	record.setRefusal(f)
	Refuse(w, r, f)
}

// refuse is the same for a request that was let in. Counted is what f says,
// whatever HTTP says of it: to a gRPC call that is 200.
func (q *request) refuse(f Refusal) {
	q.out.refusal = f.Status
	if q.done != nil && q.grant.cold == nil { // It waited in vain.
		q.grant.cold = &Phases{Queue: time.Since(q.arrived)}
	}
	if q.caller != wadi.ServiceGateway {
		f = f.inside()
	}
	q.a.refuse(&q.out, q.in, q.record, f)
}

// serve forwards q to one instance after another until one takes it, where that does
// no harm. In between q waits for an instance like those that have not been sent yet.
func (q *request) serve() {
	for {
		if err := q.acquire(); err != nil {
			q.refuse(q.refusal(err))
			return
		}
		err := q.forward()
		if err == nil {
			later := q.out.waitForClient
			if later != nil && q.expired == nil {
				later()
			}
			q.out.unlimitAnswer()
			if later == nil && q.body != nil && !q.body.Ended() {
				_ = discard(&q.out, q.in) // The answer has said already that the connection closes.
			}
			return
		}
		if !q.mayRetry(err) {
			f := q.refusal(err)
			if (f.Code == CodeRequestTimeout || f.Code == CodeBadBody) && q.in.ProtoMajor == 1 {
				q.out.Header().Set("Connection", "close") // Its deadlines are used up, or what comes next is no request.
			}
			q.refuse(f)
			return
		}
		q.a.metrics.retries.Inc()
		q.ctx = &attempt{client: q.in.Context()}
	}
}

// mayRetry reports whether q may be sent to an instance once more after err. What no app
// has seen may be sent for as long as it may wait; the time at instances that did not
// take it counts as waiting. What an app may have seen is sent once more, by the rule of
// [upstream.ForwardError.Retryable], and has its time to wait anew.
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

// limitWait bounds the waiting of q, which is in no list, as if it began at from.
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

// acquire grants q an instance, at once or after waiting for one.
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

// wait waits for a grant.
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

// callerKey is who takes turns with others: in the mesh the caller's service, outside
// its address.
func (q *request) callerKey() string {
	if q.caller == wadi.ServiceGateway && q.a.cfg.Peer != nil {
		return q.a.cfg.Peer(q.in)
	}
	return q.caller
}

// reauthorize asks whether q's caller may still do what it could when it came. If
// not, the instance is given back.
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
