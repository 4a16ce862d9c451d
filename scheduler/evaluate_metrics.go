package scheduler

import (
	"math"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// perMetric is what the metrics of a revision say together.
type perMetric struct {
	settings    []Settings
	readings    []wadi.Reading
	memory      []metricDecider
	winner      Output // The largest answer, without its reason.
	reason      loadExplanation
	winnerIndex int    // Whose reading it is; -1: nothing is known.
	why         clause // Why nothing is known.
	missing     clause // What is not known, so that nothing may be lowered.
	sampled     bool   // Not every source was read.

	panicSince time.Time // Zero: no metric panics.
	end        time.Time // Of the data by which was decided: the oldest.
}

// anyLoad is a target at which any load wants one instance.
const anyLoad = 1e18

// minCoverage is the share of a window that must be known, of what can be.
const minCoverage = 0.5

// coverageOf is the smaller share that is known of what can be in the two windows.
// What processes that have ended took along keeps a count from being lowered, and must
// not keep it from being raised by what the others tell.
func coverageOf(a *Averages) float64 {
	return min(knownShare(a.Coverage, a.Lost), knownShare(a.PanicCoverage, a.PanicLost))
}

func knownShare(coverage, lost float64) float64 {
	if lost < 1 {
		return coverage / (1 - lost)
	}
	return 0
}

// decide lets each metric decide by itself. The largest answer wins, of equal ones
// the one whose metric was named first. What cpu and memory want is one or more:
// zero is decided by requests alone, and once it is due by them, the others have
// no say.
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
		r := wadi.Reading{
			Metric: s.Metric, Stable: finite(a.Stable), Panic: finite(a.Panic), Target: s.TargetValue,
			Coverage: a.Coverage, PanicCoverage: a.PanicCoverage,
		}
		if r.Target >= anyLoad {
			r.Target = 0
		}
		silent := !s.Metric.OfRequests() && (due || in.Count == 0)
		st, known := in.Deciders[s.Metric]
		why := invalid(in, a)
		if !silent {
			l.noteMissing(a, why, s.Metric)
		}
		if why.kind == clauseNone {
			measured := Input{Stable: a.Stable, Panic: a.Panic, Ready: in.Ready}
			var out Output
			out, st = decide(s, st, measured, in.Now)
			known = true
			reason := explainLoad(s, measured, &out)
			if !s.Metric.OfRequests() && out.Desired < 1 {
				out.Desired = 1
			}
			r.Valid, r.Wanted, r.Panicking = true, out.Desired, out.Panicking
			if out.Panicking && st.PanicSince.After(l.panicSince) {
				l.panicSince = st.PanicSince
			}
			if !silent && a.End.Before(l.end) {
				l.end = a.End
			}
			if !silent && (l.winnerIndex < 0 || out.Desired > l.winner.Desired) {
				l.winner, l.reason, l.winnerIndex = out, reason, i
			}
		}
		if known {
			l.memory = append(l.memory, metricDecider{s.Metric, st})
		}
		l.readings = append(l.readings, r)
	}
}

// metricDecider is the memory of one metric.
type metricDecider struct {
	metric wadi.Metric
	wadi.Decider
}

// memorise makes the memory to pass next time. Mostly nothing has changed: then it
// is the old one.
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

// noteMissing takes in what is amiss with what was measured.
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

// fill writes into a decision what was measured.
func (l *perMetric) fill(d *wadi.Decision) {
	r := &l.readings[max(0, l.winnerIndex)]
	d.Metric, d.Stable, d.Panic, d.Target = r.Metric, r.Stable, r.Panic, r.Target
	d.Coverage, d.PanicCoverage, d.Sampled = r.Coverage, r.PanicCoverage, l.sampled
	d.PanicSince, d.Panicking = l.panicSince, !l.panicSince.IsZero()
	if len(l.readings) > 1 {
		d.Readings = l.readings
	}
}

// settingsOf appends to all the scaling of each metric. One of requests is always among
// them: where none was asked for, one instance is wanted while requests come.
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

// invalid says why nothing can be decided from what was measured, or nothing.
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
