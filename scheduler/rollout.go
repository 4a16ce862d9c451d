package scheduler

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler/gate"
)

// rolloutPlan is the part of a plan that moves the targets "latest" to a new revision, step
// by step.
type rolloutPlan struct {
	d     *Desired
	o     *Observed
	state map[string]wadi.RevisionState // By revision; changed by the plan.
	load  demand
	rs    wadi.RolloutState
	acts  []Action
	notes []string // What happens, for people.
	minor bool     // It is a step of many.
}

// planRollout returns the memory of the service's rollout after its actions, so the rest of
// the plan need not wait for another pass. It is stored before the route that follows from
// it: a leader that dies in between leaves the next one that work and no decision.
func planRollout(d *Desired, o *Observed, state map[string]wadi.RevisionState, load demand) ([]Action, *wadi.RolloutState) {
	p := rolloutPlan{d: d, o: o, state: state, load: load}
	if d.State.Rollout != nil {
		p.rs = *d.State.Rollout
	}
	before := p.rs
	p.forgive()
	p.obey()
	p.reconsider()
	p.follow()
	if reflect.DeepEqual(p.rs, before) {
		return p.acts, d.State.Rollout
	}
	a := Action{Kind: SetRollout, Revision: p.rs.Revision, Rollout: &p.rs, Noted: !p.minor}
	if len(p.notes) > 0 {
		a.Reason = p.notes[0]
		for _, n := range p.notes[1:] {
			a.Reason += "; " + n
		}
	}
	return append(p.acts, a), &p.rs
}

func (p *rolloutPlan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// forgive lets the latest revision be "latest" again, if it was submitted again since it was
// rejected.
func (p *rolloutPlan) forgive() {
	s := p.state[p.d.Latest]
	if !s.Forgiven(p.d.Attempt) {
		return
	}
	s.Rejected, s.Attempt = "", p.d.Attempt
	p.state[p.d.Latest] = s
	p.acts = append(p.acts, Action{Kind: Reject, Revision: p.d.Latest})
}

// obey carries out a new order. One about a revision whose turn has not come waits for it.
func (p *rolloutPlan) obey() {
	o := p.d.Order
	if o == p.rs.Order {
		return
	}
	by := byWhom(o.By)
	switch {
	case o.Action == wadi.RolloutAbort:
		p.rs.Order = o
		p.reject(o.Revision, wadi.RolloutAborted, "it was aborted"+by)
		return
	case o.Revision != p.rs.Revision:
		return
	}
	p.rs.Order = o
	switch {
	case !p.rs.Underway():
	case o.Action == wadi.RolloutPause && !p.rs.Paused:
		p.rs.Paused = true
		p.note("paused%s", by)
	case o.Action == wadi.RolloutResume && p.rs.Paused:
		p.rs.Paused = false
		if r := p.d.Service.Rollout; r.Gradual() && !p.rs.Next.IsZero() {
			_, interval := paceOf(r, p.rs.Took.D())
			p.rs.Next = later(p.rs.Next, p.o.Now.Add(interval))
		}
		p.note("resumed%s", by)
	case o.Action == wadi.RolloutResume:
		p.rs.Unjudged = true
		p.note("the next step need not wait for enough requests%s", by)
	}
}

func byWhom(name string) string {
	if name == "" {
		return ""
	}
	return " by " + name
}

// reject has a revision give back its share, if another can take it.
func (p *rolloutPlan) reject(revision string, end wadi.RolloutPhase, reason string) {
	s, known := p.state[revision]
	if !known || s.Rejected != "" || !p.replaceable(revision) {
		return
	}
	s.Rejected, s.Attempt = reason, p.d.Attempt
	p.state[revision] = s
	p.acts = append(p.acts, Action{Kind: Reject, Revision: revision, Reason: reason})
	if p.rs.Revision == revision {
		p.end(end, reason)
	}
}

// replaceable reports whether another revision can be "latest" in the place of one.
func (p *rolloutPlan) replaceable(revision string) bool {
	return slices.ContainsFunc(p.d.Revisions, func(r wadi.Revision) bool {
		return r.ID != revision && p.state[r.ID].Servable() && p.state[r.ID].Rejected == ""
	})
}

func (p *rolloutPlan) end(how wadi.RolloutPhase, reason string) {
	share := float64(p.rs.Share(p.rs.Revision)) / 100
	p.rs.Shares, p.rs.Paused, p.rs.Unjudged, p.rs.Next = nil, false, false, time.Time{}
	p.rs.End, p.rs.Reason, p.rs.Ended = how, reason, p.o.Now.UTC()
	switch how {
	case wadi.RolloutDone:
		p.note("done: %s", reason)
	case wadi.RolloutRolledBack:
		p.note("rolled back at %g%%: %s", share, reason)
	default:
		p.note("ended at %g%%: %s", share, reason)
	}
}

// reconsider rejects a revision that can't keep the share that it has.
func (p *rolloutPlan) reconsider() {
	id := p.rs.Revision
	if !p.rs.Underway() || wadi.WeightOf(p.o.Route.Targets, id) == 0 {
		return
	}
	if s := p.state[id]; s.StartFailure != "" {
		p.reject(id, wadi.RolloutRolledBack, "none of its instances is ready: "+s.StartFailure)
		return
	}
	if v := p.verdict(); v.Decision == gate.Back {
		p.reject(id, wadi.RolloutRolledBack, v.Reason)
	}
}

// verdict is the gate's about the present step, by what the revision and those before it
// answered since the step's weights were programmed, or since this leader's term began: what
// an earlier leader has observed is not known. While it is paused a person judges.
func (p *rolloutPlan) verdict() gate.Verdict {
	r, rs := p.d.Service.Rollout, &p.rs
	if !r.Gated() || rs.Paused || rs.Programmed.IsZero() {
		return gate.Verdict{Decision: gate.GoOn}
	}
	var before wadi.Outcomes
	for _, s := range rs.Shares {
		o, known := p.o.Outcomes[s.Revision]
		if !known {
			why := "what " + s.Revision + " answered is not known"
			if no := p.o.NoOutcomes[s.Revision]; no != "" {
				why += ": " + no
			}
			return gate.Verdict{Decision: gate.Wait, Reason: why}
		}
		if s.Revision != rs.Revision {
			before = before.Add(o)
		}
	}
	return gate.Judge(*r, before, p.o.Outcomes[rs.Revision])
}

// follow brings the rollout to the revision that "latest" stands for now.
func (p *rolloutPlan) follow() {
	to := latestReady(p.d.Latest, p.d.Revisions, p.state)
	whole, gradual := latestWeight(p.d.Service), p.d.Service.Rollout.Gradual()
	switch underway := p.rs.Underway(); {
	case underway && whole == 0:
		p.end(wadi.RolloutAborted, "no share of the traffic goes to latest any more")
	case underway && !gradual:
		p.end(wadi.RolloutDone, "the service no longer asks for a rollout")
	case underway && p.rs.Revision == to:
		p.keepHolders()
		p.advance()
	case underway && p.number(to) > p.number(p.rs.Revision) && p.state[to].Phase == wadi.Ready:
		held := weightsByShare(p.rs.Shares)
		p.end(wadi.RolloutAborted, to+" takes over")
		p.begin(to, held)
	case underway:
		p.end(wadi.RolloutAborted, p.rs.Revision+" can't take over any more")
	case !gradual || whole <= leastRollout || p.state[to].Phase != wadi.Ready:
	case p.rs.Revision == to && p.rs.End == wadi.RolloutDone || wadi.WeightOf(p.o.Route.Targets, to) > 0:
	default:
		p.begin(to, p.holders())
	}
}

func (p *rolloutPlan) number(revision string) int {
	for _, r := range p.d.Revisions {
		if r.ID == revision {
			return r.Number
		}
	}
	return 0
}

// latestWeight is the weight of all targets "latest" together.
func latestWeight(svc wadi.Service) (w int) {
	for _, t := range svc.Traffic {
		if t.Revision == wadi.Latest {
			w += wadi.WeightOfPercent(t.Percent)
		}
	}
	return w
}

// holders are the weights by revision that are not by name: of what "latest" stood for.
func (p *rolloutPlan) holders() map[string]int {
	held := wadi.Weights(p.o.Route.Targets)
	for _, t := range p.d.Service.Traffic {
		if t.Revision != wadi.Latest {
			held[t.Revision] -= wadi.WeightOfPercent(t.Percent)
		}
	}
	return held
}

func weightsByShare(shares []wadi.RolloutShare) map[string]int {
	out := map[string]int{}
	for _, s := range shares {
		out[s.Revision] += s.Weight
	}
	return out
}

// begin begins a rollout in the place of those that hold the share now. Without any, the
// revision takes all at once.
func (p *rolloutPlan) begin(to string, held map[string]int) {
	delete(held, to)
	good := maps.Clone(held)
	maps.DeleteFunc(good, func(id string, w int) bool { return w <= 0 || !p.state[id].Servable() || p.state[id].Rejected != "" })
	if len(good) == 0 {
		return
	}
	shares := sharesOf(good, p.d.Revisions)
	if len(shares) == 0 {
		return
	}
	p.rs = wadi.RolloutState{
		Revision: to, From: largest(shares), Began: p.o.Now.UTC(), Order: p.rs.Order,
		Shares: append([]wadi.RolloutShare{{Revision: to}}, shares...),
	}
	p.note("%s takes over from %s in steps, over %v", to, p.rs.From, p.d.Service.Rollout.Duration)
	p.obey()
	p.advance()
}

// keepHolders gives the share of a revision that is gone, can't serve or was rejected to the
// others. A rejected one keeps it if there is no other: the new one gets it in steps.
func (p *rolloutPlan) keepHolders() {
	kept, lost := []wadi.RolloutShare{p.rs.Shares[0]}, 0
	good := slices.ContainsFunc(p.rs.Shares[1:], func(s wadi.RolloutShare) bool { return p.serves(s.Revision) && p.state[s.Revision].Rejected == "" })
	for _, s := range p.rs.Shares[1:] {
		if p.serves(s.Revision) && (!good || p.state[s.Revision].Rejected == "") {
			kept = append(kept, s)
		} else {
			lost += s.Weight
		}
	}
	if lost > 0 {
		kept[min(1, len(kept)-1)].Weight += lost
		p.rs.Shares, p.rs.Programmed = kept, time.Time{}
	}
}

func (p *rolloutPlan) serves(revision string) bool {
	return p.state[revision].Servable() && p.number(revision) > 0
}

// advance notes that a step is served, or takes the next one once it is due and can be
// carried.
func (p *rolloutPlan) advance() {
	r, rs, now := p.d.Service.Rollout, &p.rs, p.o.Now.UTC()
	share := rs.Shares[0].Weight
	if share > 0 && rs.Programmed.IsZero() {
		if !p.carried() {
			return
		}
		rs.Programmed = now
		if rs.Took == 0 {
			rs.Took = wadi.Duration(max(1, now.Sub(rs.Stepped)))
		}
		_, interval := paceOf(r, rs.Took.D())
		rs.Next = later(rs.Stepped.Add(interval), now.Add(max(r.Hold.D(), min(interval, time.Second))))
	}
	if share == wadi.WeightAll {
		p.end(wadi.RolloutDone, fmt.Sprintf("%s has the whole share of latest", rs.Revision))
		return
	}
	if state := p.progress(); state.phase != "" {
		return
	}
	steps, _ := paceOf(r, rs.Took.D())
	to := firstShare
	if share > 0 {
		to = nextShare(share, steps)
	}
	rs.Shares = grown(rs.Shares, to)
	rs.Stepped, rs.Programmed, rs.Next, rs.Unjudged = now, time.Time{}, time.Time{}, false
	crosses := func(parts int) bool { return to*parts/wadi.WeightAll != share*parts/wadi.WeightAll }
	if share == 0 || steps <= reportedSteps || crosses(reportedSteps) {
		p.minor = len(p.notes) == 0 && steps > notedSteps && !crosses(notedSteps)
		p.note("%g%% of what goes to latest", float64(to)/100)
	}
}

// People are told of so many steps of one rollout at most, and so many are in the history of
// the job in Nomad, which keeps 20 entries.
const (
	reportedSteps = 20
	notedSteps    = 5
)

// carried reports whether callers are served by the shares.
func (p *rolloutPlan) carried() bool {
	return p.o.Programmed && slices.Equal(p.o.Route.Targets, targetsOf(p.d.Service, p.d.Latest, p.d.Revisions, p.state, &p.rs))
}

// progress is what a rollout does instead of taking its next step.
type progress struct {
	phase  wadi.RolloutPhase // Empty: nothing keeps it from the step.
	reason string
	next   time.Time // Zero: not by the clock.
}

// progress says what keeps a rollout that is under way from its next step.
func (p *rolloutPlan) progress() progress {
	rs := &p.rs
	share := rs.Shares[0].Weight
	switch {
	case rs.Paused:
		return progress{phase: wadi.RolloutPaused, reason: "paused" + byWhom(rs.Order.By)}
	case share > 0 && rs.Programmed.IsZero():
		return progress{phase: wadi.RolloutStepping, reason: "the network layers do not carry the step yet"}
	case share > 0 && p.o.Now.Before(rs.Next):
		return progress{phase: wadi.RolloutStepping, next: rs.Next}
	}
	if v := p.verdict(); share > 0 && !rs.Unjudged && v.Decision != gate.GoOn {
		return progress{phase: wadi.RolloutJudging, reason: v.Reason + p.anew() + anyway}
	}
	steps, _ := paceOf(p.d.Service.Rollout, rs.Took.D())
	to := firstShare
	if share > 0 {
		to = nextShare(share, steps)
	}
	after := *rs
	after.Shares = grown(rs.Shares, to)
	next := targetsOf(p.d.Service, p.d.Latest, p.d.Revisions, p.state, &after)
	if lacks := p.load.lacking(p.o, p.o.Route.Targets, next); len(lacks) > 0 {
		return progress{phase: wadi.RolloutWarming, reason: lacks[0].String()}
	}
	return progress{}
}

// anyway says how a step is got past for which too few requests come: the gate waits for them
// without a bound.
const anyway = "; it waits until then, or until \"wadi rollout resume\" takes the next step without"

// anew says since when the step is observed, if that is later than when it was programmed.
func (p *rolloutPlan) anew() string {
	if since := p.o.OutcomesSince; since.Sub(p.rs.Programmed) > time.Second {
		return fmt.Sprintf(" (observed anew since %s, as another leader began then)", since.UTC().Format(time.TimeOnly+" MST"))
	}
	return ""
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
