package activator

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/clientcert"
	"github.com/wadi-run/wadi/proxy/lazy"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// slowAnswer is how long the answer to a request whose deadline has passed may take to
// reach its client.
const slowAnswer = 5 * time.Second

// errDeadline ends the context of a request whose deadline has passed.
var errDeadline = errors.New("the request took too long")

// errOver ends the context of a request that is over.
var errOver = errors.New("the request is over")

// forward sends q to the granted instance, and releases the grant.
func (q *request) forward() error {
	q.a.metrics.inFlight.Inc()
	defer q.a.metrics.inFlight.Dec()
	ctx := q.ctx
	defer ctx.End(context.Canceled, errOver)
	defer q.rev.release(q)
	q.sent.Add(1)
	proxy.StripInternal(q.in.Header)
	q.setClientCert()
	if q.mirrored {
		q.in.Header[wadi.HeaderMirror] = []string{"1"}
	}
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

// setClientCert sets the header by which the app learns the verified identity of a
// caller in the mesh, as the instance's own Envoy would. Without the mesh any caller could
// claim one.
func (q *request) setClientCert() {
	if q.mesh && q.in.TLS != nil && q.set.Mesh == wadi.MeshEnvoy {
		q.in.Header[clientcert.Header] = []string{clientcert.Format(q.in.TLS.PeerCertificates)}
	}
}

// judgeFailure turns the error of a forward into the request's, and takes the instance out
// of rotation if that is to blame.
func (q *request) judgeFailure(ctx *lazy.Context, err error) error {
	var failed *upstream.ForwardError
	switch {
	case errors.As(err, &failed) && failed.Answered:
		q.out.aborted = true
		panic(http.ErrAbortHandler) // The answer can't be completed; the client must see that.
	case errors.Is(ctx.Cause(), errDeadline): // First, as it makes net/http end the client's context too.
		return deadlineReached(q.set.Timeout.Request)
	case q.in.Context().Err() != nil:
		return q.in.Context().Err()
	case q.body != nil && q.body.Failure() != nil: // The instance is not to blame.
		return badBody(q.body.Failure())
	case failed != nil && failed.Unsendable: // The request is to blame.
	case failed != nil && failed.Begun: // The instance answers, if badly.
	case failed == nil || failed.Refused || failed.Misdirected || !failed.BodyRead:
		// With a part of the body sent it may as well be the client's fault.
		if q.rev.fail(q.grant) {
			q.a.cfg.Log.Warn("instance left rotation", "revision", q.rev.id, "instance", q.grant.instance.ep.Instance, "error", err)
		}
	}
	return err
}
