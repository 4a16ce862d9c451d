package activator

import (
	"errors"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/clientcert"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// slowAnswer is how long the answer to a request that ran out of time may take
// to reach its client.
const slowAnswer = 5 * time.Second

// errDeadline is why the context of a request that ran out of time ends.
var errDeadline = errors.New("the request took too long")

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
	q.setClientCert()
	out := q.in.WithContext(ctx)
	if q.body != nil {
		out.Body = q.body.Attempt()
	}
	err := q.grant.instance.upstream.Forward(&q.out, out)
	if err == nil {
		return nil
	}
	return q.judgeFailure(ctx, err)
}

// setClientCert tells the instance's queue-proxy, and by that the app, what a caller in the
// mesh has proved to be, as the instance's own Envoy would. Without the mesh anybody
// could say the same.
func (q *request) setClientCert() {
	if q.mesh && q.in.TLS != nil && q.set.Mesh == wadi.MeshEnvoy {
		q.in.Header[clientcert.Header] = []string{clientcert.Format(q.in.TLS.PeerCertificates)}
	}
}

// judgeFailure judges the error of a forward, and who is to blame for it.
func (q *request) judgeFailure(ctx *attempt, err error) error {
	var failed *upstream.ForwardError
	switch {
	case errors.As(err, &failed) && failed.Answered:
		q.out.aborted = true
		panic(http.ErrAbortHandler) // The answer can't be completed; the client must see that.
	case errors.Is(ctx.causeOf(), errDeadline): // First: it makes net/http end the client's context too.
		return deadlineReached(q.set.Timeout.Request)
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
