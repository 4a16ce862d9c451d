package activator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

// MeshHandler serves requests of mesh callers whom g lets pass. Their own Envoys
// name service and revision in headers, set by the leg of the splitter that they
// took. A caller may claim any of them: that is why it is judged by its own name
// and the service's intentions, before anything is done for it.
func (a *Activator) MeshHandler(g Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service, revision := r.Header.Get(wadi.HeaderService), r.Header.Get(wadi.HeaderRevision)
		if err := authorize(g, service, r); err != nil {
			a.refuseFor(w, r, err)
			return
		}
		if service == "" || revision == "" {
			a.refuse(w, r, Refusal{Status: http.StatusNotFound, Code: CodeNoRevision,
				Message: "the request names no service and revision: call a service by its own name, not the activator"})
			return
		}
		a.ServeRevision(w, r, service, revision)
	})
}

// ServeRevision answers r by an instance of revision, which it waits for and
// wakes if there is none. It strips Wadi's internal headers from r.
func (a *Activator) ServeRevision(w http.ResponseWriter, r *http.Request, service, revision string) {
	proxy.StripInternal(r.Header)
	rev, err := a.admit(service, revision)
	if err != nil {
		a.refuseFor(w, r, err)
		return
	}
	defer a.leave()
	out := &response{ResponseWriter: w}
	defer a.answered(rev, out)
	q := request{a: a, rev: rev, set: rev.settings.Load(), arrived: time.Now()}
	q.quiet = slices.Contains(q.set.Queue.Quiet, r.URL.Path)
	if q.set.Failed != "" {
		a.refuse(out, r, hasFailed(rev.id, q.set.Failed))
		return
	}
	if !q.quiet {
		defer a.recorderOf(rev).Begin(false)()
	}
	q.serve(out, r)
}

// admit finds a revision and counts a request in, or says why not. Like others on
// the way to waiting it is small on the stack: of a request that waits, net/http's
// stack grows from 4 to 8 KiB where a little more is needed.
func (a *Activator) admit(service, revision string) (*revision, error) {
	rev := (*a.revisions.Load())[revision]
	if rev == nil || rev.service != service {
		return nil, Refusal{Status: http.StatusNotFound, Code: CodeNoRevision,
			Message: fmt.Sprintf("no revision %q of service %q is served here", revision, service)}
	}
	if !a.enter() {
		return nil, shuttingDown()
	}
	return rev, nil
}

// answered counts a request by how it ended.
func (a *Activator) answered(rev *revision, w *response) {
	a.metrics.requests.WithLabelValues(rev.service, w.class()).Inc()
}

// refuseFor answers with err, a Refusal.
func (a *Activator) refuseFor(w http.ResponseWriter, r *http.Request, err error) {
	var f Refusal
	errors.As(err, &f)
	a.refuse(w, r, f)
}

// refuse answers with f and counts it.
func (a *Activator) refuse(w http.ResponseWriter, r *http.Request, f Refusal) {
	a.metrics.refusals.WithLabelValues(f.Code).Inc()
	Refuse(w, r, f)
	if res, ok := w.(*response); ok {
		res.status = f.Status // Whatever HTTP says of it: to a gRPC call that is 200.
	}
}

// request is one request on its way through.
type request struct {
	a       *Activator
	rev     *revision
	set     *wadi.RouteRevision
	arrived time.Time
	quiet   bool
}

// serve forwards r, and once more to another instance where that does no harm.
func (q *request) serve(w *response, r *http.Request) {
	b := &body{in: r.Body}
	for again := false; ; again = true {
		g, err := q.acquire(r, again)
		if err != nil {
			q.a.refuse(w, r, q.refusal(r, err))
			return
		}
		err = q.forward(w, r, b, g)
		if err == nil {
			if !b.ended() {
				_ = discard(w, r) // The answer has said already that the connection closes.
			}
			return
		}
		var failed *proxy.ForwardError
		errors.As(err, &failed)
		if failed == nil || again || !failed.Retryable(r) || !b.whole() {
			f := q.refusal(r, err)
			if (f.Code == CodeRequestTimeout || f.Code == CodeBadBody) && r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close") // Its deadlines are used up, or what comes next is no request.
			}
			q.a.refuse(w, r, f)
			return
		}
		q.a.metrics.retries.Inc()
	}
}

// acquire returns an instance for r, at once or after waiting for one.
func (q *request) acquire(r *http.Request, again bool) (grant, error) {
	if g, ok := q.rev.take(q.arrived, q.quiet); ok {
		return g, nil
	}
	size, err := q.a.room.enter(r)
	if err != nil {
		return grant{}, err
	}
	defer q.a.room.give(size)
	return q.rev.wait(r.Context(), q.waiter(r), again)
}

// waiter is q's place in the queue.
func (q *request) waiter(r *http.Request) *waiter {
	w := &waiter{quiet: q.quiet, arrived: q.arrived, conn: watched(r), done: make(chan struct{})}
	timeout := q.set.Queue.Timeout.D()
	w.deadline = time.Now().Add(timeout)
	if end := q.deadline(); !end.IsZero() && end.Before(w.deadline) {
		w.deadline, w.tooLong = end, true
	}
	return w
}

// deadline is when the whole request must be over; zero is never.
func (q *request) deadline() time.Time {
	if t := q.set.Timeout.Request.D(); t > 0 {
		return q.arrived.Add(t)
	}
	return time.Time{}
}

func tooLong(timeout wadi.Duration) Refusal {
	return Refusal{Status: http.StatusGatewayTimeout, Code: CodeRequestTimeout,
		Message: fmt.Sprintf("the request took longer than %s", timeout)}
}

// forward sends r to the granted instance, which it gives back.
func (q *request) forward(w *response, r *http.Request, b *body, g grant) error {
	q.a.metrics.inFlight.Inc()
	defer q.a.metrics.inFlight.Dec()
	defer q.rev.release(g.instance)
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	if end := q.deadline(); !end.IsZero() {
		defer w.limit(end, cancel)()
	}
	w.cold(g.timing)
	out := r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		out = b.lend(out)
	}
	err := g.instance.upstream.Forward(w, out)
	if err == nil {
		return nil
	}
	var failed *proxy.ForwardError
	switch {
	case errors.As(err, &failed) && failed.Answered:
		panic(http.ErrAbortHandler) // The answer can't be completed; the client must see that.
	case errors.Is(context.Cause(ctx), errTooLong): // First: it makes net/http end the client's context too.
		return tooLong(q.set.Timeout.Request)
	case r.Context().Err() != nil:
		return r.Context().Err()
	case b.failure() != nil: // The instance is not to blame.
		return badBody(b.failure())
	case failed != nil && failed.Unsendable: // Nor is it here.
	case failed == nil || failed.Refused || failed.Misdirected || !failed.BodyRead:
		// With a part of the body sent it may as well have been the client's fault.
		q.a.cfg.Log.Warn("instance left rotation", "revision", q.rev.id, "instance", g.instance.ep.Instance, "error", err)
		q.rev.fail(g)
	}
	return err
}

// refusal is the answer for err.
func (q *request) refusal(r *http.Request, err error) Refusal {
	var f Refusal
	var failed *proxy.ForwardError
	switch {
	case errors.As(err, &f):
		return f
	case r.Context().Err() != nil:
		return clientGone()
	case errors.As(err, &failed) && (failed.Refused || failed.Misdirected):
		return Refusal{Status: http.StatusBadGateway, Code: CodeUpstream, Message: "no instance took the request: " + failed.Err.Error()}
	}
	return Refusal{Status: http.StatusBadGateway, Code: CodeUpstream, Message: "the instance failed while it had the request"}
}

func badBody(err error) Refusal {
	return Refusal{Status: http.StatusBadRequest, Code: CodeBadBody, Message: "the request's body can't be read: " + err.Error()}
}

func hasFailed(revision, why string) Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeFailed,
		Message: fmt.Sprintf("revision %s has failed: %s", revision, why)}
}

func full(format string, args ...any) Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeQueueFull, RetryAfter: time.Second,
		Message: wadi.ErrQueueFull.Error() + ": " + fmt.Sprintf(format, args...)}
}

func shuttingDown() Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeShutdown, RetryAfter: time.Second, Message: "this agent is stopping"}
}

func clientGone() Refusal {
	return Refusal{Status: statusClientGone, Code: CodeClientGone, Message: "the client has gone"}
}

func atZero() Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeQuiet, Message: "no instance runs, and this path does not wake one"}
}
