package activator

import (
	"errors"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/clientcert"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// slowAnswer is how long the answer to a request that ran out of time may take
// to reach its client.
const slowAnswer = 5 * time.Second

// errTooLong is why the context of a request that ran out of time ends.
var errTooLong = errors.New("the request took too long")

// errOver is why the context of a request ends that is over.
var errOver = errors.New("the request is over")

// forward sends q to the granted instance, which it gives back.
func (q *request) forward() error {
	q.a.metrics.inFlight.Inc()
	defer q.a.metrics.inFlight.Dec()
	ctx := q.ctx
	defer ctx.end(errOver)
	defer q.rev.release(q)
	q.sent.Add(1)
	proxy.StripInternal(q.in.Header)
	q.introduce()
	out := q.in.WithContext(ctx)
	if q.body != nil {
		out.Body = q.body.Attempt()
	}
	err := q.grant.instance.upstream.Forward(&q.out, out)
	if err == nil {
		return nil
	}
	return q.failed(ctx, err)
}

// introduce tells the instance's queue-proxy, and by that the app, what a caller in the
// mesh has proved to be, as the instance's own Envoy would. Without the mesh anybody
// could say the same.
func (q *request) introduce() {
	if q.mesh && q.in.TLS != nil && q.set.Mesh == wadi.MeshEnvoy {
		q.in.Header[clientcert.Header] = []string{clientcert.Format(q.in.TLS.PeerCertificates)}
	}
}

// failed judges the error of a forward, and who is to blame for it.
func (q *request) failed(ctx *attempt, err error) error {
	var failed *upstream.ForwardError
	switch {
	case errors.As(err, &failed) && failed.Answered:
		q.out.aborted = true
		panic(http.ErrAbortHandler) // The answer can't be completed; the client must see that.
	case errors.Is(ctx.because(), errTooLong): // First: it makes net/http end the client's context too.
		return tooLong(q.set.Timeout.Request)
	case q.in.Context().Err() != nil:
		return q.in.Context().Err()
	case q.body != nil && q.body.Failure() != nil: // The instance is not to blame.
		return badBody(q.body.Failure())
	case failed != nil && failed.Unsendable: // Nor is it here.
	case failed != nil && failed.Begun: // It answers, if badly.
	case failed == nil || failed.Refused || failed.Misdirected || !failed.BodyRead:
		// With a part of the body sent it may as well have been the client's fault.
		if q.rev.fail(q.grant) {
			q.a.cfg.Log.Warn("instance left rotation", "revision", q.rev.id, "instance", q.grant.instance.ep.Instance, "error", err)
		}
	}
	return err
}

// expireAt has expire called at end, if not earlier. One timer looks after all
// requests of a revision: most are over long before it fires, and cost it nothing.
// The caller holds the mutex.
func (r *revision) expireAt(end time.Time) {
	switch {
	case !r.expiryAt.IsZero() && !end.Before(r.expiryAt):
		return
	case r.expiry == nil:
		r.expiry = time.AfterFunc(time.Until(end), r.expire)
	default:
		r.expiry.Reset(time.Until(end))
	}
	r.expiryAt = end
}

// expire ends the requests whose time is over.
func (r *revision) expire() {
	now := time.Now()
	var over []*request
	r.mu.Lock()
	r.expiryAt = time.Time{}
	var next time.Time
	for q := range r.serving.All() {
		switch {
		case q.end.IsZero() || q.expired != nil:
		case !q.end.After(now):
			q.expired = make(chan struct{})
			q.ctx.end(errTooLong)
			over = append(over, q)
		case next.IsZero() || q.end.Before(next):
			next = q.end
		}
	}
	if !next.IsZero() {
		r.expireAt(next)
	}
	r.mu.Unlock()
	for _, q := range over {
		q.out.hurry()
		close(q.expired)
	}
}

// upgrade notes that q's connection was taken over: its time has no end.
func (r *revision) upgrade(q *request, up *deadline.Upgraded) {
	r.mu.Lock()
	q.end, q.upgraded = time.Time{}, up
	r.mu.Unlock()
	if r.a.leaving.Load() {
		go up.GoAway()
	}
}

// Leave tells both ends of upgraded connections that this agent is to stop; see
// [deadline.Tracker.GoAway]. Those that are upgraded from now on are told at once.
func (a *Activator) Leave() {
	a.leaving.Store(true)
	for _, r := range *a.revisions.Load() {
		r.mu.Lock()
		for q := range r.serving.All() {
			if q.upgraded != nil {
				go q.upgraded.GoAway() // It ends with the connection at the latest.
			}
		}
		r.mu.Unlock()
	}
}
