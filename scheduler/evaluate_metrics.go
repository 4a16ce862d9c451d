package scheduler

import (
	"math"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// perMetric is what each metric of a revision wants, and which one wins.
type perMetric struct {
	settings    []Settings
	readings    []wadi.Reading
	memory      []metricDecider
	winner      Output // The largest answer, without its Reason.
	reason      loadExplanation
	winnerIndex int    // Of the winner's reading; -1: no metric is known.
	why         clause // Why no metric is known.
	missing     clause // What is not known, so that the count may not be lowered.
	sampled     bool   // Not every source was read.

	panicSince time.Time // Zero: no metric panics.
	end        time.Time // The earliest end of the windows behind the decision.
}

// anyLoad is a target at which any load wants one instance.
const anyLoad = 1e18

// minCoverage is the share of a window's seconds that must be known, without the lost
// ones.
const minCoverage = 0.5

// coverageOf is the smaller coverage of the two windows, without lost seconds. Seconds
// lost with ended processes keep the count from being lowered, and must not keep the load
// of the others from raising it.
func coverageOf(a *Averages) float64 {
	return min(knownShare(a.Coverage, a.Lost), knownShare(a.PanicCoverage, a.PanicLost))
}

func knownShare(coverage, lost float64) float64 {
	if lost < 1 {
		return coverage / (1 - lost)
	}
	return 0
}

// decide lets each metric decide by itself. The largest answer wins; of equal answers,
// that of the metric named first. CPU and memory want at least one instance: requests
// alone decide about zero, and once they permit it, the other metrics abstain.
func (l *perMetric) decide(in *EvalInput) {
	*l = perMetric{
		settings: settingsOf(in, l.settings[:0]), readings: l.readings[:0], memory: l.memory[:0],
		end: in.Loads.Concurrency.End, winnerIndex: -1,
	}
	due := idleFor(in) >= idleNeeded(in)
	for i := range l.settings {
		s := &l.settings[i]
		a := in.Loads.Of(s.Metric)
		l.sampled = l.sampled || a.Sampled
		abstains := !s.Metric.OfRequests() && (due || in.Count == 0)
		why := invalid(in, a)
		if !abstains {
			l.noteMissing(a, why, s.Metric)
		}
		r := readingOf(s, a)
		st, known := in.Deciders[s.Metric]
		if why.kind == clauseNone {
			measured := Input{Stable: a.Stable, Panic: a.Panic, Ready: in.Ready}
			var out Output
			out, st = decide(s, st, measured, in.Now)
			known = true
			explained := explainLoad(s, measured, &out)
			if !s.Metric.OfRequests() {
				out.Desired = max(1, out.Desired)
			}
			r.Valid, r.Wanted, r.Panicking = true, out.Desired, out.Panicking
			if out.Panicking && st.PanicSince.After(l.panicSince) {
				l.panicSince = st.PanicSince
			}
			if !abstains {
				l.take(i, out, explained, a.End)
			}
		}
		if known {
			l.memory = append(l.memory, metricDecider{s.Metric, st})
		}
		l.readings = append(l.readings, r)
	}
}

// readingOf is what was measured of one metric, without a decision.
func readingOf(s *Settings, a *Averages) wadi.Reading {
	r := wadi.Reading{
		Metric: s.Metric, Stable: finite(a.Stable), Panic: finite(a.Panic), Target: s.TargetValue,
		Coverage: a.Coverage, PanicCoverage: a.PanicCoverage,
	}
	if r.Target >= anyLoad {
		r.Target = 0
	}
	return r
}

// take records the decision of the metric at index i. It wins if it wants more than
// the metrics before it.
func (l *perMetric) take(i int, out Output, explained loadExplanation, end time.Time) {
	if end.Before(l.end) {
		l.end = end
	}
	if l.winnerIndex < 0 || out.Desired > l.winner.Desired {
		l.winner, l.reason, l.winnerIndex = out, explained, i
	}
}

// metricDecider is the memory of one metric.
type metricDecider struct {
	metric wadi.Metric
	wadi.Decider
}

// memorise makes the memory to pass next time. It returns the old one if nothing has
// changed, as is usual.
func memorise(old wadi.Deciders, memory []metricDecider) (next wadi.Deciders, changed bool) {
	equal := len(memory) == len(old)
	for _, m := range memory {
		o, ok := old[m.metric]
		equal = equal && ok && o.Started == m.Started && o.PanicSince.Equal(m.PanicSince) &&
			o.HighestInPanic == m.HighestInPanic && slices.Equal(o.Delay, m.Delay)
	}
	if equal {
		return old, false
	}
	next = make(wadi.Deciders, len(memory))
	for _, m := range memory {
		next[m.metric] = m.Decider
	}
	return next, true
}

// noteMissing records what is missing from a metric's data.
func (l *perMetric) noteMissing(a *Averages, why clause, m wadi.Metric) {
	if why.kind != clauseNone && l.why.kind == clauseNone {
		l.why = why
	}
	switch {
	case l.missing.kind != clauseNone || why.kind == clauseNone && !a.Partial:
	case m.OfRequests() && a.Unaccounted:
		l.missing = clause{kind: clauseUnaccounted}
	case m.OfRequests():
		l.missing = clause{kind: clauseUnreported}
	default:
		l.missing = clause{kind: clauseUsageUnknown, text: string(m)}
	}
}

// fill writes the measurements into a decision.
func (l *perMetric) fill(d *wadi.Decision) {
	r := &l.readings[max(0, l.winnerIndex)]
	d.Metric, d.Stable, d.Panic, d.Target = r.Metric, r.Stable, r.Panic, r.Target
	d.Coverage, d.PanicCoverage, d.Sampled = r.Coverage, r.PanicCoverage, l.sampled
	d.PanicSince, d.Panicking = l.panicSince, !l.panicSince.IsZero()
	if len(l.readings) > 1 {
		d.Readings = l.readings
	}
}

// settingsOf appends the settings of each metric to all. A metric of requests is always
// among them: if the service names none, one instance is wanted while there are requests.
func settingsOf(in *EvalInput, all []Settings) []Settings {
	requests := false
	for _, m := range metricsOf(in.Scaling) {
		all = append(all, SettingsOf(in.Scaling, m, in.ConcurrencyLimit, in.Routed))
		requests = requests || m.Metric.OfRequests()
	}
	if !requests {
		s := SettingsOf(in.Scaling, wadi.Concurrency.Default(), in.ConcurrencyLimit, in.Routed)
		s.TargetValue = anyLoad
		all = append(all, s)
	}
	return all
}

// metricsOf is what a revision is scaled by.
func metricsOf(s *wadi.Scaling) []wadi.MetricTarget {
	if len(s.Metrics) == 0 {
		return []wadi.MetricTarget{wadi.Concurrency.Default()}
	}
	return s.Metrics
}

// invalid says why nothing can be decided from the averages; the zero clause: nothing is
// wrong.
func invalid(in *EvalInput, a *Averages) clause {
	switch coverage := coverageOf(a); {
	case !in.ReadyKnown:
		return clause{kind: clauseReadyUnknown}
	case math.IsNaN(a.Stable) || math.IsNaN(a.Panic) || math.IsInf(a.Stable, 0) || math.IsInf(a.Panic, 0):
		return clause{kind: clauseNoNumber}
	case coverage < minCoverage && !a.AtLeast:
		return clause{kind: clauseUnknownWindow, share: coverage}
	}
	return clause{}
}
