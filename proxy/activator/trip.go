package activator

import (
	"context"
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
	Attempts int    // How often the request was sent to an instance.

	Arrived   time.Time // At the activator; zero: it did not come so far.
	Granted   time.Time // When the last instance was granted; zero: none was.
	FirstByte time.Time // When the answer began; zero: it did not, or Wadi answered.

	// Cold says where the time between Arrived and the first Granted went, if the
	// request waited for an instance to come.
	Cold *Phases
}

// Phases are the parts of a cold request's wait, one after the other.
type Phases struct {
	Queue time.Duration // Until the wake was begun.
	Place time.Duration // Until the instance had a place.
	Start time.Duration // Until it could be reached.
	Probe time.Duration // Until it said that it is ready, and the request's turn came.
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
