package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// RolloutStatus is what people are shown of a service's rollout: of the one that is under way,
// or else of the last one; nil: there was none. before is what they were shown last, as its
// phase may last.
func RolloutStatus(d Desired, o Observed, before *wadi.RolloutStatus) *wadi.RolloutStatus {
	rs := d.State.Rollout
	if rs == nil || rs.Revision == "" {
		return nil
	}
	d.Revisions = byNumber(d.Revisions)
	st := &wadi.RolloutStatus{Revision: rs.Revision, From: rs.From, Phase: rs.End, Reason: rs.Reason, Since: rs.Ended}
	if rs.End == wadi.RolloutDone {
		st.Percent = 100
	}
	if !rs.Underway() || !d.Service.Rollout.Gradual() {
		return st
	}
	p := rolloutPlan{d: &d, o: &o, state: d.State.Revisions, load: demandOf(&d, &o), rs: *rs}
	share := rs.Shares[0].Weight
	st.Percent = float64(share) / 100
	now := p.progress()
	st.Phase, st.Reason, st.Next = now.phase, now.reason, now.next
	if now.phase == "" { // Until the next pass.
		st.Phase = wadi.RolloutStepping
	}
	if rs.Took > 0 || d.Service.Rollout.Steps > 0 {
		steps, _ := paceOf(d.Service.Rollout, rs.Took.D())
		st.Step, st.Steps = stepOf(share, steps), steps+1
	} else if share > 0 {
		st.Step = 1
	}
	st.Since = o.Now.UTC().Truncate(time.Second)
	if before != nil && before.Revision == st.Revision && before.Phase == st.Phase {
		st.Since = before.Since
	}
	return st
}
