// Package gate judges whether a revision answers well enough to take over more traffic: the
// rule of gated rollouts.
//
// It promises that the same numbers give the same verdict, and that the verdict says the numbers that
// it is drawn from. It refuses to judge by few requests: then it waits.
package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// Decision is what a rollout should do.
type Decision string

// The decisions.
const (
	GoOn Decision = "go-on" // The new revision is good enough for the next step.
	Wait Decision = "wait"  // There are not enough requests to tell.
	Back Decision = "back"  // The new revision is worse than permitted.
)

// Verdict is a decision, and why.
type Verdict struct {
	Decision Decision
	Reason   string // With the numbers, in words.
}

// Figures of the rule.
const (
	// goOnError is the chance, at one look, to go on with a revision that is just as bad as the limit.
	goOnError = 0.05

	// backError is the chance, at one look, to call a revision worse than the limit that is just
	// at it. A rollout looks again and again while requests come in. With the one-sided normal
	// quantile z = 3.5 of this chance all looks together err with at most 1 %, while the number of
	// requests grows a thousandfold: about φ(z)·((z-1/z)·ln(1000)/2 + 1/z), as D. Siegmund gives
	// for repeated significance tests (Sequential Analysis, 1985, chapter 4).
	backError = 0.000233

	// precise is the part of the limit to which a figure has to be known for its estimate to
	// count. Else a revision a little better than the limit would be waited for without end.
	precise = 0.25

	minRequests    = 20  // Of a revision, before its errors are judged or compared with.
	minLatencies   = 100 // Of the new revision, before its 99th percentile is called too slow.
	slowShare      = 0.01
	maxStillNeeded = 1_000_000
)

// Judge says whether a revision that answered with after may take over more traffic, by a
// rollout's limits and by what the revision before it answered in the same time.
//
// Errors (MaxErrorPercent): the limit is for the difference of the two shares of requests that
// failed. Its confidence interval is Newcombe's (Statistics in Medicine 17, 1998, method 10),
// from the exact limits of each share (Clopper and Pearson, 1934). It goes back when the
// difference is above the limit even at its lower bound, of 99.98 % confidence at each look and of 99 % at all looks of a
// step together. It goes on when the difference is below the limit at its upper bound, of 95 %
// confidence: with no errors and 1 % allowed that takes 299 requests. It goes on too when the
// difference is known to a quarter of the limit, and not above it. Else it waits.
//
// If the revision before had fewer than 20 requests, the new one is held to the limit alone, unless a
// request of the one before failed too: then nothing tells whether the revision is to blame, and
// it may go on, but not back.
//
// Latency (MaxP99): the 99th percentile is above the limit when more than 1 % of the
// requests were slower. The exact limits of that share are compared with 1 % in the same way, with
// the same confidence: going on takes 299 requests of which none was slower, going back at least 100. The
// revision before is not compared with. A limit between two bounds of [wadi.LatencyBounds] is
// judged by what is certainly slower to go back.
//
// Both: back if one says so, on if all say so. Requests are taken for independent: a burst of
// errors by one cause counts as so many.
func Judge(rule wadi.Rollout, before, after wadi.Outcomes) Verdict {
	all := findings(rule, before, after)
	if len(all) == 0 {
		return Verdict{GoOn, "the rollout has no gate"}
	}
	v := Verdict{Decision: decide(all)}
	var reasons []string
	for _, f := range all {
		if f.Decision == v.Decision {
			reasons = append(reasons, f.why())
		}
	}
	v.Reason = strings.Join(reasons, "; ")
	return v
}

// finding is the verdict of one limit. Its words are made only if they are read.
type finding struct {
	Decision
	why func() string
}

func findings(rule wadi.Rollout, before, after wadi.Outcomes) (all []finding) {
	if rule.MaxErrorPercent > 0 {
		all = append(all, judgeErrors(rule, before, after))
	}
	if rule.MaxP99 > 0 {
		all = append(all, judgeLatency(rule.MaxP99.D(), after.Latency))
	}
	return all
}

// decide is the decision by all limits.
func decide(all []finding) Decision {
	d := GoOn
	for _, f := range all {
		if f.Decision == Back {
			return Back
		}
		if f.Decision == Wait {
			d = Wait
		}
	}
	return d
}

func noRequests() string { return "it has had no requests yet" }

func judgeErrors(rule wadi.Rollout, before, after wadi.Outcomes) finding {
	limit := rule.MaxErrorPercent / 100
	old := share{before.Errors(rule.ErrorCodes), before.Requests()}
	new := share{after.Errors(rule.ErrorCodes), after.Requests()}
	old.of, new.of = max(old.of, old.n), max(new.of, new.n) // Callers that left count if they are named as errors.
	if new.of == 0 {
		return finding{Wait, noRequests}
	}
	said, worse := comparison(old, new)
	blameless := false // Nothing tells whether the new revision is to blame.
	if old.of < minRequests {
		old, blameless = share{}, old.n > 0
	}
	estimate, most := new.part()-old.part(), mostWorse(old, new)
	switch {
	case new.of >= minRequests && !blameless && leastWorse(old, new) > limit:
		return finding{Back, func() string {
			return said + fmt.Sprintf("more than %s%s (99 %% sure)", percent(limit), worse)
		}}
	case new.of >= minRequests && most < limit:
		return finding{GoOn, func() string {
			return said + fmt.Sprintf("at most %s%s (95 %% sure), %s is allowed", percent(max(0, most)), worse, percent(limit))
		}}
	case new.of >= minRequests && most-estimate <= precise*limit && estimate <= limit:
		return finding{GoOn, func() string {
			return said + fmt.Sprintf("about %s%s, known to a quarter of the %s that is allowed", percent(max(0, estimate)), worse, percent(limit))
		}}
	}
	return finding{Wait, func() string {
		return said + fmt.Sprintf("that does not tell yet whether it is more than %s%s", percent(limit), worse) +
			stillNeeded(new.of, func(n uint64) bool { return mostWorse(old, new.scaled(n)) < limit })
	}}
}

// comparison says what is compared, and what more errors are called.
func comparison(old, new share) (said, worse string) {
	said = fmt.Sprintf("%s of %s failed, ", percent(new.part()), quantity(new.of))
	switch {
	case old.of >= minRequests:
		return said + fmt.Sprintf("%s of %s of the revision before: ", percent(old.part()), thousands(old.of)), " worse"
	case old.of == 0:
		return said + "the revision before had none to compare with: ", ""
	}
	return said + fmt.Sprintf("the revision before had only %s to compare with, of which %s failed: ", thousands(old.of), thousands(old.n)), ""
}

// leastWorse is the lower bound of how much more new fails than old, for going back.
func leastWorse(old, new share) float64 {
	d := new.part() - old.part()
	if old.of == 0 {
		return new.lower(backError)
	}
	return d - hypot(new.part()-new.lower(backError), old.upper(backError)-old.part())
}

// mostWorse is the upper bound of how much more new fails than old, for going on.
func mostWorse(old, new share) float64 {
	d := new.part() - old.part()
	if old.of == 0 {
		return new.upper(goOnError)
	}
	return d + hypot(new.upper(goOnError)-new.part(), old.part()-old.lower(goOnError))
}

func judgeLatency(limit time.Duration, l wadi.Latencies) finding {
	total := l.Count()
	if total == 0 {
		return finding{Wait, noRequests}
	}
	least, most := l.Above(limit)
	slow, about := share{least, total}, share{(least + most + 1) / 2, total}
	upper := share{most, total}.upper(goOnError)
	name := wadi.Duration(limit).Short()
	words := func(format string, args ...any) func() string {
		return func() string {
			return fmt.Sprintf("p99 is %s; %s of %s took longer than %s to answer: ",
				inWords(l.Quantile(1-slowShare)), percent(about.part()), quantity(total), name) + fmt.Sprintf(format, args...)
		}
	}
	switch {
	case total >= minLatencies && slow.lower(backError) > slowShare:
		return finding{Back, words("more than 1 %% do, so p99 is above %s (99 %% sure)", name)}
	case upper < slowShare:
		return finding{GoOn, words("at most %s do (95 %% sure), so p99 is below %s", percent(upper), name)}
	case about.upper(goOnError)-about.part() <= precise*slowShare && about.part() <= slowShare:
		return finding{GoOn, words("p99 is about %s or below", name)}
	}
	said := words("that does not tell yet whether p99 is above %s", name)
	return finding{Wait, func() string {
		return said() + stillNeeded(total, func(n uint64) bool { return share{most, total}.scaled(n).upper(goOnError) < slowShare })
	}}
}

// stillNeeded says about how many requests would be enough to go on, if they are answered as
// those before; empty if no number would be.
func stillNeeded(have uint64, enough func(n uint64) bool) string {
	low, high := have, max(2*have, 2*minRequests)
	for ; !enough(high); high *= 2 {
		if high > maxStillNeeded {
			return ""
		}
		low = high
	}
	for high-low > max(1, high/200) {
		if mid := (low + high) / 2; enough(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return fmt.Sprintf("; about %s would be enough", quantity(high))
}
