package jobspecs

import (
	"time"

	"github.com/wadi-run/wadi"
)

// checkRollout finds what makes no sense together, and drops a rollout that is all at once
// and counts nothing.
func (r *reader) checkRollout(s *wadi.Service, report func(path, format string, args ...any)) {
	o := s.Rollout
	if o == nil {
		return
	}
	if o.Duration == 0 && r.good("rollout.duration") {
		r.checkNoDuration(o, report)
	}
	r.checkSteps(*o, report)
	switch p99 := o.MaxP99; {
	case !r.good("rollout.max_p99") || p99 == 0:
	case p99.D() < minP99:
		report("rollout.max_p99", "latencies below %s are not told apart; set at least that, or 0 for no gate on latency", wadi.Duration(minP99).Short())
	case p99 >= s.Timeout.Request && s.Timeout.Request > 0 && r.good("timeout.request"):
		report("rollout.max_p99", "no request takes longer than timeout.request (%s, set %s), so %s would never be reached", s.Timeout.Request.Short(), r.origin("timeout.request"), p99.Short())
	}
	if _, set := r.ranges["rollout.duration"]; set && o.Gradual() && r.good("traffic") && wadi.Pinned(s.Traffic) {
		p := problemAt(r.ranges["rollout.duration"], "rollout", "a rollout shifts the share of \"latest\", and no traffic block gives it one")
		p.Warning = true
		r.problems = append(r.problems, p)
	}
	if !o.Gradual() && len(o.ErrorCodes) == 0 {
		s.Rollout = nil
	}
}

// checkNoDuration refuses settings about steps where there are none. Those of the defaults are
// dropped: a service may say that its revisions take over at once.
func (r *reader) checkNoDuration(o *wadi.Rollout, report func(path, format string, args ...any)) {
	drop := func(path, what string, set bool) {
		if _, own := r.ranges[path]; own && set && r.good(path) {
			report(path, "%s, and without rollout.duration there are none: a new revision takes over at once; set rollout.duration, such as \"10m\" (0s is set %s)", what, r.origin("rollout.duration"))
		}
	}
	drop("rollout.steps", "these are the steps of a rollout", o.Steps > 0)
	drop("rollout.hold", "this is the least time of a rollout's steps", o.Hold > 0)
	drop("rollout.max_error_percent", "the steps of a rollout are judged by it", o.MaxErrorPercent > 0)
	drop("rollout.max_p99", "the steps of a rollout are judged by it", o.MaxP99 > 0)
	*o = wadi.Rollout{ErrorCodes: o.ErrorCodes}
}

// checkSteps refuses steps that do not fit into the time of the rollout.
func (r *reader) checkSteps(o wadi.Rollout, report func(path, format string, args ...any)) {
	if !o.Gradual() || !r.good("rollout.duration", "rollout.steps", "rollout.hold") {
		return
	}
	each := o.Duration
	if o.Steps > 0 {
		each /= wadi.Duration(o.Steps)
	}
	switch {
	case each.D() < time.Second:
		report("rollout.steps", "%d steps in rollout.duration (%s, set %s) are less than a second each, which no change of the traffic is done in; set at most %d, or 0: as many as fit",
			o.Steps, o.Duration.Short(), r.origin("rollout.duration"), int(o.Duration.D()/time.Second))
	case o.Hold > each && o.Steps > 0:
		report("rollout.hold", "%s for each of %s takes longer than rollout.duration (%s, set %s); shorten it, set fewer steps, or a longer duration",
			o.Hold.Short(), wadi.Quantity(o.Steps, "step"), o.Duration.Short(), r.origin("rollout.duration"))
	case o.Hold > each:
		report("rollout.hold", "a single step of %s takes longer than rollout.duration (%s, set %s); shorten it, or set a longer duration", o.Hold.Short(), o.Duration.Short(), r.origin("rollout.duration"))
	}
}
