package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/agent/simulation"
	"github.com/wadi-run/wadi/internal/consul"
)

func (w *world) of(service string) *accepted {
	if w.accepted[service] == nil {
		w.accepted[service] = &accepted{}
	}
	return w.accepted[service]
}

func (w *world) noteTop(service string, top int) { w.of(service).top = max(w.of(service).top, top) }

func (w *world) noteAccepted(service string, spec wadi.Spec) {
	a := w.of(service)
	a.generation, a.revision, a.deleted = spec.Generation, spec.Latest, false
}

func (w *world) noteDeleted(service string) { w.of(service).deleted = true }

// checkStored: nothing that was accepted is lost.
func (w *world) checkStored() {
	if w.checkedAt == w.consul.Index() {
		return
	}
	w.checkedAt = w.consul.Index()
	for _, name := range simServices {
		a := w.accepted[name]
		if a == nil || a.generation == 0 || a.deleted {
			continue
		}
		spec, err := w.spec(name)
		if err != nil {
			w.fail("%s was accepted at generation %d, and is lost: %v", name, a.generation, err)
			return
		}
		if spec.Generation < a.generation {
			w.fail("%s was accepted at generation %d, and is stored at %d", name, a.generation, spec.Generation)
		}
		if w.consul.Pair(simPrefix+"/revision/"+name+"/"+spec.Latest).Index == 0 {
			w.fail("%s: its latest revision %s is lost", name, spec.Latest)
		}
	}
}

// spec is a service as stored, read again only if it has changed.
func (w *world) spec(name string) (wadi.Spec, error) {
	at := w.consul.Pair(simPrefix + "/spec/" + name).Index
	if known := w.specs[name]; known.at == at && at != 0 {
		return known.spec, nil
	}
	spec, _, err := w.direct.Spec(context.Background(), name)
	if err == nil {
		w.specs[name] = readSpec{at, spec}
	}
	return spec, err
}

// readSpec is a spec, and the index at which it was read.
type readSpec struct {
	at   uint64
	spec wadi.Spec
}

// programmed is when the config entries of a service were found to be right.
type programmed struct{ generation, route, entries uint64 }

// load is all that is stored of a service, read again only if anything has changed.
func (w *world) load(ctx context.Context, name string) (*wadi.Stored, error) {
	if w.loadedAt != w.consul.Index() {
		w.loadedAt = w.consul.Index()
		clear(w.loaded)
	}
	if s := w.loaded[name]; s != nil {
		return s, nil
	}
	s, err := w.direct.Load(ctx, name)
	if err == nil {
		w.loaded[name] = &s
	}
	return &s, err
}

// checkWritten: a term writes only while its session has the lock.
func (w *world) checkWritten(actor string, ops []consul.Op) {
	t := w.terms[actor]
	if t == nil {
		return
	}
	if slices.ContainsFunc(ops, func(op consul.Op) bool { return strings.Contains(op.Key, "/check/") }) {
		return // The proof of rights is of no consequence.
	}
	if !t.lock.Holds() {
		w.fail("%s wrote %s %s without the lock", actor, ops[len(ops)-1].Verb, ops[len(ops)-1].Key)
	}
}

// checkCalled: a term changes jobs only if it had the lock when it sent the call, and no
// count goes above max.
func (w *world) checkCalled(actor string, c simulation.Change) {
	service, _, _ := wadi.SplitRevisionID(c.ID)
	if a := w.of(service); (c.Kind == "register" || c.Kind == "scale") && a.top > 0 && c.Count > a.top && (!c.Was.Running() || c.Count > c.Was.Count) {
		w.fail("%s: %s of %s to %d, above max %d", actor, c.Kind, c.ID, c.Count, a.top)
	}
	t := w.terms[actor]
	if t == nil {
		w.raced[c.ID] = w.raced[c.ID] || c.Kind == "register" && c.Was.Exists
		return
	}
	if c.Kind != "scale" && c.Issued.Sub(t.lock.Held()) > time.Second { // Consul's answer may take a moment.
		w.fail("%s: %s of %s without asking for the lock", actor, c.Kind, c.ID)
	}
	if lost, ok := w.consul.Lost[t.lock.Session]; ok && c.Issued.After(lost) && c.Index == 0 {
		w.fail("%s: %s of %s, sent %v after the lock was lost, took effect", actor, c.Kind, c.ID, c.Issued.Sub(lost))
	}
	if lost, ok := w.consul.Lost[t.lock.Session]; ok && c.Issued.After(lost) && t.lock.Held().Before(lost.Add(-simulation.LockTTL)) {
		w.fail("%s: %s of %s, sent %v after the lock was lost, took effect", actor, c.Kind, c.ID, c.Issued.Sub(lost))
	}
}

// checkStopped: no instance with requests in flight is stopped by Wadi. Not meant are those
// of a service that is deleted, which drain by themselves, and those that no order has
// reached for as long as the plan waits for that.
func (w *world) checkStopped(c simulation.Change, a *simulation.Alloc) {
	if c.Actor == "" || c.Actor == "hand" || a.InFlight == 0 || c.Unsafe {
		return
	}
	if !a.Tried.IsZero() && time.Since(a.Tried) >= 10*time.Second {
		return
	}
	spec, err := w.spec(a.Job.Service)
	// A job is scaled to zero before it is stopped.
	if (c.Kind != "scale" || c.Count == 0) && (err != nil || spec.Deleting || w.of(a.Job.Service).deleted) {
		return
	}
	w.fail("%s: %s of %s to %d stopped %s with %d requests in flight", c.Actor, c.Kind, c.ID, c.Count, a.ID, a.InFlight)
}

// unsettled says what is not as it has to be once nothing is broken any more; empty: all is.
func (w *world) unsettled() string {
	ctx := context.Background()
	if w.leader() == nil {
		return "no agent leads"
	}
	names, err := w.direct.Services(ctx)
	if err != nil {
		return err.Error()
	}
	routed, stored := map[string]bool{}, map[string]bool{} // Revisions.
	for _, name := range names {
		s, err := w.load(ctx, name)
		if err != nil {
			return err.Error()
		}
		for _, r := range s.Revisions {
			stored[r.ID] = true
		}
		if why := w.unsettledService(ctx, s, routed); why != "" {
			return name + ": " + why
		}
	}
	for _, j := range w.nomad.Jobs() {
		if !routed[j.ID] && (stored[j.ID] || !j.Stopped) { // What the sweeper stops, it leaves.
			return fmt.Sprintf("job %s is an orphan: %+v", j.ID, j.JobState)
		}
	}
	for _, p := range w.consul.Pairs(simPrefix + "/") {
		kind, rest, _ := strings.Cut(strings.TrimPrefix(p.Key, simPrefix+"/"), "/")
		service, _, _ := strings.Cut(rest, "/")
		if kind != "leader" && kind != "takeover" && !slices.Contains(names, service) {
			return "key " + p.Key + " is an orphan"
		}
	}
	owned, err := mesh.Owned(ctx, w.entries.Direct())
	if err != nil {
		return err.Error()
	}
	for of, entries := range owned {
		if !slices.Contains(names, of) && !slices.Contains(wadi.Activators(), of) {
			return fmt.Sprintf("config entries %v are orphans", entries)
		}
	}
	return ""
}

func (w *world) unsettledService(ctx context.Context, s *wadi.Stored, routed map[string]bool) string {
	if s.Deleting {
		return "it is still being deleted"
	}
	// Not meant: a revision that was ready by instances of a submission that was refused, and
	// had registered its job of the same name in the same moment.
	if slices.ContainsFunc(s.Revisions, func(r wadi.Revision) bool {
		return w.startOf(r) < 0 && w.raced[r.ID] && s.State.Revisions[r.ID].WasReady
	}) {
		for _, r := range s.Revisions {
			routed[r.ID] = true
		}
		return ""
	}
	latest := ""
	for _, r := range s.Revisions {
		st := s.State.Revisions[r.ID]
		if st.Phase == wadi.Pending || st.Phase == "" {
			return r.ID + " is still pending"
		}
		if st.Servable() && st.Rejected == "" {
			latest = r.ID
		}
		if r.ID == s.Latest && w.startOf(r) < 0 != (st.Phase == wadi.Failed) && latest == "" {
			return fmt.Sprintf("%s is %s", r.ID, st.Phase)
		}
	}
	if s.State.Rollout.Underway() {
		return "a rollout is under way"
	}
	for _, t := range s.Service.Traffic {
		want := t.Revision
		if want == wadi.Latest {
			want = latest
		}
		if want != "" && wadi.WeightOf(s.Route.Targets, want) == 0 && s.State.Revisions[want].Servable() {
			return fmt.Sprintf("%s has no traffic: %+v", want, s.Route.Targets)
		}
	}
	if len(s.Route.Targets) == 0 {
		return "it has no route"
	}
	for _, r := range s.Revisions {
		weight := wadi.WeightOf(s.Route.Targets, r.ID)
		if weight == 0 {
			continue
		}
		routed[r.ID] = true
		if s.State.Revisions[r.ID].Phase == wadi.Failed {
			continue // There is none better.
		}
		if why := w.unsettledJob(s, r, weight); why != "" {
			return why
		}
	}
	at := programmed{s.Generation, w.consul.Pair(simPrefix + "/route/" + s.Service.Name).Index, w.entries.Index()}
	if s.Route.Mesh != wadi.MeshOff && w.programmed[s.Service.Name] != at {
		layer := &mesh.Layer{Entries: w.entries.Direct()}
		if ok, why, err := layer.Programmed(ctx, s.Route); err != nil || !ok {
			return fmt.Sprintf("its route is not programmed: %s %v", why, err)
		}
		w.programmed[s.Service.Name] = at
	}
	if s.Status.Service != s.Service.Name {
		return "it has no status"
	}
	return ""
}

// startOf is how long a revision takes to be ready; negative: it never is.
func (w *world) startOf(r wadi.Revision) time.Duration {
	if strings.Contains(string(r.Job), `"Start":-`) {
		return -1
	}
	return 0
}

func (w *world) unsettledJob(s *wadi.Stored, r wadi.Revision, weight int) string {
	j := w.nomad.Find(r.ID)
	switch {
	case j == nil:
		return r.ID + " has no job"
	case j.Stopped || !j.Same(r.Job):
		return r.ID + "'s job is stopped or edited"
	}
	n := (w.traffic.Level(s.Service.Name)*weight + wadi.WeightAll - 1) / wadi.WeightAll
	want := min(max((n+9)/10, s.Service.Scale.Min), s.Service.Scale.Max)
	ready := 0
	for _, a := range w.nomad.Instances(r.ID) {
		if a.Ready(time.Now()) {
			ready++
		}
	}
	if j.Count != want || ready != want {
		return fmt.Sprintf("%s has count %d and %d ready, and needs %d", r.ID, j.Count, ready, want)
	}
	return ""
}
