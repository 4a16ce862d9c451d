package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/simulation"
)

var simServices = []string{"a", "b", "c"}

// act is one thing that happens in a history.
type act struct {
	At      time.Duration // After the one before.
	Kind    string
	Service string
	Agent   int
	N       int
	For     time.Duration
}

func (a act) String() string {
	return fmt.Sprintf("+%v %s service=%s agent=a%d n=%d for=%v", a.At, a.Kind, a.Service, a.Agent+1, a.N, a.For)
}

// fault is something that does not work for a while.
type fault struct {
	kind  string
	agent string // Empty: for all.
	until time.Time
}

// The faults.
const (
	faultConsulAway = "consul-away"  // Nothing of it answers.
	faultConsulSlow = "consul-slow"  // Calls wait, some for longer than anybody.
	faultConsulLost = "consul-lost"  // Writes are accepted, and some answers are lost.
	faultEmpty      = "consul-empty" // Lists are empty, and reads are refused: the right is gone.
	faultStale      = "consul-stale" // Some watches are answered by a server that has read nothing yet.
	faultNomadAway  = "nomad-away"
	faultNomadSlow  = "nomad-slow"
	faultNomadLost  = "nomad-lost"
	faultNomadLate  = "nomad-late" // Changes are under way for seconds, and come whatever the caller does.
	faultConsulLate = "consul-late"
	faultLag        = "lag"    // Events take seconds, and overtake each other.
	faultSilent     = "silent" // Some sources of statistics do not answer.
	faultOrders     = "orders" // Orders do not arrive.
)

var simFaults = []string{
	faultConsulAway, faultConsulSlow, faultConsulLost, faultEmpty, faultStale, faultNomadAway, faultNomadSlow, faultNomadLost,
	faultNomadLate, faultConsulLate, faultLag, faultSilent, faultOrders,
}

// simActs are what may happen besides faults, as often as they are listed.
var simActs = []string{
	"submit", "submit", "submit", "submit", "bad", "slow", "rollback", "rollback", "split", "delete", "again",
	"load", "load", "load", "load", "idle", "idle", "idle",
	"kill-instance", "kill-node", "drain", "edit", "scale-by-hand", "stop-by-hand", "purge-by-hand", "delete-entry",
	"pause", "pause", "kill", "restart", "depose", "break", "repeat", "nothing",
}

// history is what happens, by a seed.
func history(seed uint64) (agents int, acts []act) {
	r := rand.New(rand.NewPCG(seed, 1))
	agents = 1 + r.IntN(3)
	services := 1 + r.IntN(len(simServices))
	n := 5 + r.IntN(9)
	for i := range n {
		a := act{
			At: time.Duration(r.IntN(8)) * simTick, Kind: simActs[r.IntN(len(simActs))], Service: simServices[r.IntN(services)],
			Agent: r.IntN(agents), N: r.IntN(8), For: time.Duration(1+r.IntN(20)) * simTick,
		}
		if i < 2 { // Something is there.
			a.Kind, a.Service = []string{"submit", "load"}[i], simServices[0]
		} else if r.IntN(3) == 0 {
			a.Kind = simFaults[r.IntN(len(simFaults))]
		}
		if r.IntN(8) == 0 {
			a.At += 15 * time.Second // It goes to zero, and back.
		}
		acts = append(acts, a)
	}
	return agents, acts
}

// do makes something happen.
func (w *world) do(a act) {
	if w.tracing {
		w.tracef("ACT %s", a)
	}
	agent := w.agents[a.Agent]
	switch a.Kind {
	case "submit", "bad", "slow":
		start := time.Duration(a.N*300) * time.Millisecond
		if a.Kind == "bad" {
			start = -1
		} else if a.Kind == "slow" {
			start = 8 * time.Second
		}
		w.user(func(ctx context.Context, u simUser) { u.submit(ctx, a.Service, start, a.N) })
	case "again":
		w.user(func(ctx context.Context, u simUser) {
			u.change(ctx, a.Service, func(s *wadi.Spec) { s.Attempt = s.Generation })
		})
	case "rollback", "split":
		w.user(func(ctx context.Context, u simUser) { u.traffic(ctx, a) })
	case "delete":
		w.user(func(ctx context.Context, u simUser) { u.delete(ctx, a.Service) })
	case "load":
		w.traffic.Set(a.Service, 1+5*a.N)
	case "idle":
		w.traffic.Set(a.Service, 0)
	case "kill-instance":
		for _, j := range w.nomad.Jobs() {
			if j.Service == a.Service {
				w.nomad.Kill("", j.ID)
			}
		}
	case "kill-node":
		w.nomad.Kill(fmt.Sprintf("n%d", 1+a.N%3), "")
	case "drain":
		node := fmt.Sprintf("n%d", 1+a.N%3)
		w.nomad.Drain(node, true)
		w.faults = append(w.faults, fault{"drain " + node, "", time.Now().Add(a.For + 5*time.Second)})
	case "edit", "scale-by-hand", "stop-by-hand", "purge-by-hand":
		w.byHand(a)
	case "delete-entry":
		w.entries.DeleteByHand(a.N)
	case "pause":
		if !agent.down {
			agent.pausedUntil = time.Now().Add(a.For + 5*simTick)
		}
	case "kill", "restart":
		agent.stop(a.Kind == "kill")
		w.faults = append(w.faults, fault{"start", agent.name, time.Now().Add(a.For)})
	case "depose":
		if l := w.leader(); l != nil {
			w.consul.End(l.term.lock.Session, true)
		}
	case "break":
		if !agent.down {
			agent.view.Break()
		}
	case "repeat":
		if !agent.down {
			agent.view.Repeat()
		}
	case "nothing":
	default:
		f := fault{kind: a.Kind, until: time.Now().Add(a.For)}
		if a.N%3 > 0 {
			f.agent = agent.name
		}
		if a.Kind == faultNomadAway {
			for _, o := range w.agents {
				if !o.down && (f.agent == "" || f.agent == o.name) {
					o.view.Break()
				}
			}
		}
		w.faults = append(w.faults, f)
	}
}

func (w *world) byHand(a act) {
	var of []string
	for _, j := range w.nomad.Jobs() {
		if j.Service == a.Service {
			of = append(of, j.ID)
		}
	}
	if len(of) == 0 {
		return
	}
	id := of[a.N%len(of)]
	switch a.Kind {
	case "edit":
		w.nomad.EditByHand(id)
	case "scale-by-hand":
		w.nomad.ScaleByHand(id, a.N)
	default:
		w.nomad.StopByHand(id, a.Kind == "purge-by-hand")
	}
}

// endFaults ends what is over.
func (w *world) endFaults() {
	now := time.Now()
	w.faults = slices.DeleteFunc(w.faults, func(f fault) bool {
		if now.Before(f.until) {
			return false
		}
		if node, ok := strings.CutPrefix(f.kind, "drain "); ok {
			w.nomad.Drain(node, false)
		}
		if f.kind == "start" {
			for _, a := range w.agents {
				if a.name == f.agent {
					a.start()
				}
			}
		}
		return true
	})
}

func (w *world) fault(kind, agent string) bool {
	return slices.ContainsFunc(w.faults, func(f fault) bool {
		return f.kind == kind && (f.agent == "" || f.agent == agent) && time.Now().Before(f.until)
	})
}

func (w *world) hasFault(kind string, a *simAgent) bool { return w.fault(kind, a.name) }

func (w *world) consulAway(a *simAgent) bool { return w.hasFault(faultConsulAway, a) }

func (w *world) nomadAway(a *simAgent) bool { return w.hasFault(faultNomadAway, a) }

// lag is how long an event takes to an agent.
func (w *world) lag(a *simAgent) time.Duration {
	if w.hasFault(faultLag, a) {
		return time.Duration(w.gate.Rand.IntN(6000)) * time.Millisecond
	}
	return 0
}

// held reports whether an actor's agent is paused.
func (w *world) held(actor string) bool {
	name := agentOf(actor)
	for _, a := range w.agents {
		if a.name == name {
			return a.paused()
		}
	}
	return false
}

// judge decides what becomes of a call.
func (w *world) judge(actor, what string) (v simulation.Verdict) {
	if strings.HasPrefix(what, "order ") {
		w.nomad.Ordered(what)
	}
	if len(w.faults) == 0 {
		return v
	}
	agent, r := agentOf(actor), w.gate.Rand
	verb, _, _ := strings.Cut(what, " ")
	some := func(ms int) time.Duration { return time.Duration(r.IntN(ms)) * time.Millisecond }
	if w.fault(faultOrders, agent) && (verb == "order" || verb == "read") && r.IntN(2) == 0 {
		v.Fail = wadi.ErrUnavailable
		return v
	}
	switch verb {
	case "order", "read", "unread":
	case "job", "register", "scale", "stop", "purge", "note", "evaluate", "plan", "versions", "history", "own":
		writes := verb == "register" || verb == "scale" || verb == "stop" || verb == "purge"
		switch {
		case w.fault(faultNomadAway, agent):
			v.Fail = wadi.ErrUnavailable
		case w.fault(faultNomadSlow, agent):
			v.Hold = some(12000)
		case w.fault(faultNomadLost, agent) && writes && r.IntN(2) == 0:
			v.Lost = true
		case w.fault(faultNomadLate, agent) && writes:
			v.Late = some(5000)
		}
	default: // Consul's.
		writes := verb == "txn" || verb == "set" || verb == "delete"
		switch {
		case w.fault(faultConsulAway, agent):
			v.Fail = wadi.ErrUnavailable
		case w.fault(faultEmpty, agent) && verb == "watch":
			v.Empty = true
		case w.fault(faultEmpty, agent):
			v.Fail = wadi.ErrOwnRight
		case w.fault(faultStale, agent) && verb == "watch" && r.IntN(2) == 0:
			v.Stale = true
		case w.fault(faultConsulSlow, agent):
			v.Hold = some(12000)
		case w.fault(faultConsulLost, agent) && writes && r.IntN(2) == 0:
			v.Lost = true
		case w.fault(faultConsulLate, agent) && writes:
			v.Late = some(9000)
		}
	}
	return v
}

// submit stores a service with a new revision, as admission does: its job first.
func (u simUser) submit(ctx context.Context, name string, start time.Duration, n int) {
	spec, index, err := u.store.Spec(ctx, name)
	if errors.Is(err, wadi.ErrNotFound) {
		spec, index, err = wadi.Spec{}, 0, nil
	}
	if err != nil || spec.Deleting {
		return
	}
	revisions, err := u.store.Revisions(ctx, name)
	if err != nil {
		return
	}
	number := 1
	for _, r := range revisions {
		number = max(number, r.Number+1)
	}
	if _, latest, ok := wadi.SplitRevisionID(spec.Latest); ok {
		number = max(number, latest+1)
	}
	service := simService(name, n)
	id := wadi.RevisionID(name, number)
	rev := &wadi.Revision{ID: id, Service: name, Number: number, Created: time.Now().Unix(), Spec: service, Job: simJob(name, number, start)}
	job, err := u.jobs.Job(ctx, "default", id)
	if err != nil || job.Exists && job.Count > 0 && !job.Stopped {
		return
	}
	at, err := u.jobs.Register(ctx, rev.Job, 0, job.Index)
	if err != nil {
		return
	}
	spec.Service, spec.Latest, spec.Submitted = service, id, time.Now().Unix()
	spec.Generation++
	spec.Attempt = spec.Generation
	u.w.noteTop(name, service.Scale.Max)
	if _, err = u.store.Submit(ctx, []wadi.Submission{{Spec: spec, Index: index, NewRevision: rev}}); err == nil {
		u.w.noteAccepted(name, spec)
		return
	}
	if job.Exists {
		return
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if now, err := u.jobs.Job(cleanup, "default", id); err != nil || now.Index != at {
		return
	}
	stored, _ := u.store.Revisions(cleanup, name)
	if !slices.ContainsFunc(stored, func(r wadi.Revision) bool { return r.ID == id }) {
		_ = u.jobs.Purge(cleanup, "default", id)
	}
}

// change stores a service without a new revision.
func (u simUser) change(ctx context.Context, name string, edit func(*wadi.Spec)) {
	spec, index, err := u.store.Spec(ctx, name)
	if err != nil || spec.Deleting {
		return
	}
	spec.Generation++
	edit(&spec)
	if _, err := u.store.Submit(ctx, []wadi.Submission{{Spec: spec, Index: index}}); err == nil {
		u.w.noteAccepted(name, spec)
	}
}

// traffic gives the traffic to an older revision, a part of it, or to the latest again.
func (u simUser) traffic(ctx context.Context, a act) {
	revisions, err := u.store.Revisions(ctx, a.Service)
	if err != nil || len(revisions) == 0 {
		return
	}
	state, err := u.store.State(ctx, a.Service)
	if err != nil {
		return
	}
	older := revisions[a.N%len(revisions)]
	u.change(ctx, a.Service, func(s *wadi.Spec) {
		switch {
		case !state.Revisions[older.ID].Servable() || older.ID == s.Latest:
			s.Service.Traffic = []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}}
		case a.Kind == "split":
			s.Service.Traffic = []wadi.TrafficTarget{{Revision: older.ID, Percent: 60}, {Revision: wadi.Latest, Percent: 40}}
		default:
			s.Service.Traffic = []wadi.TrafficTarget{{Revision: older.ID, Percent: 100}}
		}
	})
}

func (u simUser) delete(ctx context.Context, name string) {
	_, index, err := u.store.Spec(ctx, name)
	if err != nil {
		return
	}
	u.w.noteDeleted(name)
	_ = u.store.MarkDeleting(ctx, name, index)
}

// simService is a service as submitted; n varies it.
func simService(name string, n int) wadi.Service {
	s := wadi.Service{
		Name: name, Namespace: "default", ServingTask: "web", Protocol: wadi.HTTP1, Visibility: wadi.Public, Mesh: wadi.MeshOff,
		Traffic:   []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}},
		Timeout:   wadi.Timeouts{Progress: wadi.Duration(20 * time.Second), Request: wadi.Duration(time.Minute)},
		Retention: wadi.Retention{Keep: 1 + n%3},
		Scale: wadi.Scaling{
			Initial: 1, Activation: 1, Max: 3 + n%3, Window: wadi.Duration(6 * time.Second), PanicWindowPercent: 10, PanicThresholdPercent: 200,
			MaxUpRate: 1000, MaxDownRate: 2, Metrics: []wadi.MetricTarget{{Metric: wadi.Concurrency, Target: 10, Utilization: 1}},
		},
	}
	if name == "b" {
		s.Mesh, s.Scale.Min = wadi.MeshEnvoy, n%2
	}
	if name == "c" {
		s.Rollout = &wadi.Rollout{Duration: wadi.Duration(10 * time.Second), Steps: 2}
		s.Scale.ManualHold = wadi.Duration(10 * time.Second)
	}
	return s
}
