package activator

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/replay"
)

// MeshHandler serves requests of mesh callers that g allows. The callers' own Envoys
// set service and revision in headers, by the leg of the splitter that the request took; calls
// of a service with a sticky header name no revision. A caller may claim any of them: that is
// why g judges it by its own name and the service's intentions, before anything is done for it.
func (a *Activator) MeshHandler(g Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service, revision := r.Header.Get(wadi.HeaderService), r.Header.Get(wadi.HeaderRevision)
		record := a.recordOf(r)
		record.setTarget(service, revision)
		caller, err := authorize(g, service, r)
		record.setCaller(caller)
		if err != nil {
			if isDenied(err) {
				w.Header().Set("Connection", "close") // The caller has no use for it, over HTTP/2 neither.
			}
			a.refuseFor(w, r, record, err)
			return
		}
		if (*a.deleted.Load())[service] {
			a.refuse(w, r, record, isDeleted(service))
			return
		}
		if name := r.Header.Get(wadi.HeaderRoute); name != "" && revision == "" {
			a.redirect(w, r, record, service, name)
			return
		}
		if revision == "" {
			revision = (*a.splits.Load())[service].pick(r.Header)
			record.setTarget(service, revision)
		}
		if service == "" || revision == "" {
			a.refuse(w, r, record, noTarget())
			return
		}
		if rev := (*a.revisions.Load())[revision]; rev == nil || rev.service != service {
			a.refuse(w, r, record, notYetKnown(service, revision))
			return
		}
		a.serve(w, r, record, call{service: service, revision: revision, caller: caller, mesh: true})
	})
}

// ServeRevision has an instance of revision answer r, which comes from outside the mesh.
// If there is no instance, it wakes the revision, and r waits. Wadi's internal headers in
// r don't reach the instance, except [wadi.HeaderMirror]: a copy is served as any request,
// and scales its revision, but is in no statistics of what callers got.
func (a *Activator) ServeRevision(w http.ResponseWriter, r *http.Request, service, revision string) {
	record := a.recordOf(r)
	record.setTarget(service, revision)
	a.serve(w, r, record, call{service: service, revision: revision, caller: wadi.ServiceGateway, mirrored: r.Header[wadi.HeaderMirror] != nil})
}

// call is the target and the caller of a request.
type call struct {
	service, revision, caller string
	mesh                      bool // Over the mesh listener.
	mirrored                  bool // It is a copy of a request.
}

// serve needs little of the stack, like all functions on the way to waiting: with a
// little more, the stack of each waiting request would grow from 4 to 8 KiB.
func (a *Activator) serve(w http.ResponseWriter, r *http.Request, record *RequestRecord, c call) {
	rev, err := a.admit(c)
	if err != nil && c.mirrored {
		Refuse(w, r, asRefusal(err))
		return
	}
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

// admit finds the revision and counts a request in, or returns a Refusal.
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
	q := &request{in: r, a: a, rev: rev, set: rev.settings.Load(), record: record, caller: c.caller, mesh: c.mesh, mirrored: c.mirrored, arrived: time.Now()}
	q.first.Init(r.Context())
	q.ctx = &q.first
	q.out = response{q: q}
	q.out.ResponseWriter, q.out.Starter = w, &q.out
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

// refuseFor answers with err, a Refusal.
func (a *Activator) refuseFor(w http.ResponseWriter, r *http.Request, record *RequestRecord, err error) {
	a.refuse(w, r, record, asRefusal(err))
}

// asRefusal is the Refusal that err is.
func asRefusal(err error) (f Refusal) {
	errors.As(err, &f)
	return f
}

// refuse answers with f and counts it.
func (a *Activator) refuse(w http.ResponseWriter, r *http.Request, record *RequestRecord, f Refusal) {
	a.metrics.refusals.WithLabelValues(f.Code).Inc()
	record.setRefusal(f)
	Refuse(w, r, f)
}
