package activator

import (
	"context"
	"net/http"
	"time"
)

// Trip is what becomes of one request: for access logs and traces, which are made
// of it when the request has ended. Who wants to know puts an empty one into the
// request's context; see [WithTrip] and [Config.Trips].
type Trip struct {
	Service  string
	Revision string
	Instance string // The last that the request was sent to; empty: none.
	Caller   string // By its mesh certificate; empty from outside of the mesh.
	Code     string // Of the refusal, if Wadi answered itself.
	Status   int    // As it is counted: a refusal's own, 499 for a client that has gone; zero: none.
	Attempts int    // How often the request was sent to an instance.
	Aborted  bool   // The answer was broken off.
	BytesIn  int64  // Of the request's body, as far as it was read.
	BytesOut int64  // Of the answer's body.

	Arrived   time.Time // At the activator; zero: it did not come so far.
	Granted   time.Time // When the last instance was granted; zero: none was.
	FirstByte time.Time // When the answer began; zero: it did not, or Wadi answered.

	// Cold says where the time between Arrived and the last Granted went, if the
	// request had to wait.
	Cold *Phases
}

// Phases are the parts of a request's wait, one after the other.
type Phases struct {
	Queue time.Duration // Until the wake was begun.
	Place time.Duration // Until the instance had a place.
	Start time.Duration // Until it answered at all.
	Probe time.Duration // Until it said that it is ready.
	Turn  time.Duration // Until the request's turn came.
}

type tripKey struct{}

// WithTrip returns a context whose request fills t in. Nobody else may touch t
// before the handler has returned.
func WithTrip(ctx context.Context, t *Trip) context.Context {
	return context.WithValue(ctx, tripKey{}, t)
}

// TripOf returns the trip that WithTrip put into ctx; nil if there is none.
func TripOf(ctx context.Context) *Trip {
	t, _ := ctx.Value(tripKey{}).(*Trip)
	return t
}

func (a *Activator) tripOf(r *http.Request) *Trip {
	if !a.cfg.Trips {
		return nil
	}
	return TripOf(r.Context())
}

// What follows does nothing for a nil trip, so that nobody has to ask.

func (t *Trip) named(service, revision string) {
	if t != nil {
		t.Service, t.Revision = service, revision
	}
}

func (t *Trip) calledBy(caller string) {
	if t != nil {
		t.Caller = caller
	}
}

func (t *Trip) arrived(now time.Time) {
	if t != nil {
		t.Arrived = now
	}
}

func (t *Trip) firstByte(now time.Time) {
	if t != nil {
		t.FirstByte = now
	}
}

func (t *Trip) refused(f Refusal) {
	if t != nil {
		t.Code, t.Status = f.Code, f.Status
	}
}

// ended takes in what is known when q is over.
func (t *Trip) ended(q *request) {
	if t == nil {
		return
	}
	if g := q.grant; g.instance != nil {
		t.Instance, t.Granted, t.Cold = g.instance.ep.Instance, g.at, g.cold
	}
	t.Status, t.Attempts, t.Aborted, t.BytesOut = q.out.counted(), int(q.sent.Load()), q.out.aborted, q.out.bytes
	if q.body != nil {
		t.BytesIn = q.body.size()
	}
}
