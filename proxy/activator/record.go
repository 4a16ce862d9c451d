package activator

import (
	"context"
	"net/http"
	"time"
)

// RequestRecord is what happened to one request. Access logs and spans are made of it
// when the request has ended. A caller that wants one puts an empty record into the
// request's context; see [WithRequestRecord] and [Settings.RequestRecords].
type RequestRecord struct {
	Service  string
	Revision string
	Instance string // The last one that the request was sent to; empty: none.
	Caller   string // By its mesh certificate; empty from outside the mesh.
	Code     string // Of the refusal, if Wadi answered itself.
	Status   int    // As it is counted: a refusal's own, 499 for a client that has gone; zero: none.
	Attempts int    // How often the request was sent to an instance.
	Aborted  bool   // The answer was broken off.
	BytesIn  int64  // Of the request's body, as far as it was read.
	BytesOut int64  // Of the answer's body.

	Arrived   time.Time // At the activator; zero: it did not get there.
	Granted   time.Time // When the last instance was granted; zero: none was.
	FirstByte time.Time // When the answer began; zero: it did not, or Wadi answered.

	// Cold splits the time between Arrived and the last Granted into phases, if the
	// request had to wait.
	Cold *Phases
}

// Phases are the parts of a request's wait, one after the other.
type Phases struct {
	Queue time.Duration // Until the wake began.
	Place time.Duration // Until the instance was placed.
	Pull  time.Duration // While its images were pulled; 0: they were there. It is no part of the others.
	Start time.Duration // Until it first answered.
	Probe time.Duration // Until it was ready.
	Turn  time.Duration // Until the request's turn came.

	PullBefore time.Duration // The part of Pull before it first answered.
}

type recordKey struct{}

// WithRequestRecord returns a context whose request fills r in. Only the activator may
// use r before the handler has returned.
func WithRequestRecord(ctx context.Context, r *RequestRecord) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

// recordOf returns the record that WithRequestRecord put into r's context; nil if there
// is none, or if no request has one.
func (a *Activator) recordOf(r *http.Request) *RequestRecord {
	if !a.records.Load() {
		return nil
	}
	record, _ := r.Context().Value(recordKey{}).(*RequestRecord)
	return record
}

// The methods below do nothing for a nil record, so that callers need not check.

func (r *RequestRecord) setTarget(service, revision string) {
	if r != nil {
		r.Service, r.Revision = service, revision
	}
}

func (r *RequestRecord) setCaller(caller string) {
	if r != nil {
		r.Caller = caller
	}
}

func (r *RequestRecord) setArrived(now time.Time) {
	if r != nil {
		r.Arrived = now
	}
}

func (r *RequestRecord) setFirstByte(now time.Time) {
	if r != nil {
		r.FirstByte = now
	}
}

func (r *RequestRecord) setRefusal(f Refusal) {
	if r != nil {
		r.Code, r.Status = f.Code, f.Status
	}
}

// complete fills in what is known once q is over.
func (r *RequestRecord) complete(q *request) {
	if r == nil {
		return
	}
	if g := q.grant; g.instance != nil {
		r.Instance, r.Granted, r.Cold = g.instance.ep.Instance, g.at, g.cold
	}
	r.Status, r.Attempts, r.Aborted, r.BytesOut = q.out.counted(), int(q.sent.Load()), q.out.aborted, q.out.Bytes
	if q.body != nil {
		r.BytesIn = q.body.Size()
	}
}
