package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
)

// explanation is why a service has as many instances as it has.
type explanation struct {
	Service string               `json:"service"`
	Holds   map[string]wadi.Hold `json:"holds,omitempty"`
	Missing string               `json:"missing,omitempty"` // Why what instances use is not known, of a service that is scaled by it.

	Revisions []revisionExplanation `json:"revisions"`
}

type revisionExplanation struct {
	Revision  string          `json:"revision"`
	Percent   float64         `json:"percent"` // Of the service's traffic.
	Phase     wadi.Phase      `json:"phase"`
	Next      string          `json:"next"`          // When it changes next, by itself.
	Now       *wadi.Decision  `json:"now,omitempty"` // The latest decision; null: nothing was decided yet, as at zero.
	Decisions []wadi.Decision `json:"decisions"`     // The latest ones, oldest first.
}

func explainCommand() command {
	var last int
	cmd := remoteCommand(command{
		usage: "wadi explain [options] NAME", synopsis: "Say why a service has as many instances as it has",
		help: `Shown are, for each revision that has instances or traffic, the latest decision
in full, and before it the last ones. Equal decisions in a row are one line.`,
		min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (explanation, error) {
			if last < 1 {
				return explanation{}, usagef("-n %d is less than one", last)
			}
			s, err := client.Service(ctx, c.args[0])
			if err != nil {
				return explanation{}, err
			}
			all, err := client.Decisions(ctx, c.args[0])
			if err != nil {
				return explanation{}, err
			}
			return explain(s, all, last, time.Now()), nil
		}, showExplanation)
	cmd.flags = func(fs *flag.FlagSet) { fs.IntVar(&last, "n", 10, "how `many` decisions of each revision") }
	return cmd
}

// explain sorts out what concerns whom: of the revisions that have traffic or
// something was decided about.
func explain(s api.Service, all []wadi.Decision, last int, now time.Time) explanation {
	out := explanation{Service: s.Service.Name, Holds: s.Holds, Revisions: []revisionExplanation{}}
	for _, c := range s.Status.Conditions {
		if c.Type == control.ConditionUsage && !c.OK {
			out.Missing = c.Message
		}
	}
	of := map[string][]wadi.Decision{}
	for _, d := range all {
		of[d.Revision] = append(of[d.Revision], d)
	}
	for _, r := range s.Status.Revisions {
		ds := of[r.ID]
		if r.Percent == 0 && (len(ds) == 0 || now.Sub(ds[len(ds)-1].Time) > time.Hour) && r.Phase != wadi.Pending {
			continue
		}
		e := revisionExplanation{Revision: r.ID, Percent: r.Percent, Phase: r.Phase, Decisions: ds[max(0, len(ds)-last):]}
		if len(ds) > 0 {
			d := ds[len(ds)-1]
			e.Now = &d
		}
		e.Next = next(s, r, e.Now, now)
		out.Revisions = append(out.Revisions, e)
	}
	return out
}

// atZero reports whether the last decision left nothing.
func atZero(d *wadi.Decision) bool {
	return d == nil || d.Desired == 0 && (d.Carried || d.Count == 0)
}

// next says when the count changes by itself, if nothing else does.
func next(s api.Service, r wadi.RevisionStatus, d *wadi.Decision, now time.Time) string {
	switch {
	case r.Phase == wadi.Failed:
		return "it did not become ready and gets no instances; apply its file again to try again, or submit another revision"
	case atZero(d) && r.Percent > 0:
		return fmt.Sprintf("a request wakes it, with %s", wadi.Count(max(1, s.Service.Scale.Activation), "instance"))
	case atZero(d):
		return "no traffic goes to it"
	}
	var parts []string
	if now.Before(d.HoldUntil) {
		parts = append(parts, fmt.Sprintf("the hold ends in %s", in(d.HoldUntil, now)))
	}
	if d.Floor.Until.After(now) {
		parts = append(parts, fmt.Sprintf("the floor of %d (%s) ends in %s", d.Floor.Count, floorName(d.Floor), in(d.Floor.Until, now)))
	}
	switch {
	case d.Desired > d.Count && !d.Carried && d.WhyNot != "":
		parts = append(parts, "not carried out: "+d.WhyNot)
	case now.Before(d.StartUntil):
		parts = append(parts, fmt.Sprintf("it starts: the idle time before zero begins when it is ready, and the start is given up in %s (timeout.progress)", in(d.StartUntil, now)))
	case !d.ZeroAt.IsZero() && d.Desired <= 1:
		parts = append(parts, fmt.Sprintf("zero in %s if no request comes", in(d.ZeroAt, now)))
	case d.Panicking:
		parts = append(parts, fmt.Sprintf("fewer in %s at the soonest, if the load stays below", in(d.PanicSince.Add(s.Service.Scale.Window.D()), now)))
	}
	if len(parts) == 0 {
		return "stays as it is until the load changes"
	}
	return strings.Join(parts, "; ")
}

// in is how long it is until a moment, in whole seconds upwards.
func in(at, now time.Time) string {
	return max(0, at.Sub(now)+time.Second-1).Truncate(time.Second).String()
}

func floorName(b wadi.Bound) string {
	if b.Name == "" {
		return b.By
	}
	return b.By + " " + b.Name
}

func showExplanation(c *call, e explanation) {
	for _, id := range slices.Sorted(maps.Keys(e.Holds)) {
		what := id
		if id == "" {
			what = e.Service
		}
		c.printf("%s is %s\n\n", what, holdText(e.Holds[id], time.Now()))
	}
	if e.Missing != "" {
		c.printf("cpu and memory: %s\n\n", clean(e.Missing))
	}
	if len(e.Revisions) == 0 {
		c.printf("Nothing was decided about %s yet.\n", e.Service)
	}
	for i, r := range e.Revisions {
		if i > 0 {
			c.printf("\n")
		}
		showRevision(c, r)
	}
}

func showRevision(c *call, r revisionExplanation) {
	c.printf("%s  (%s, %s of the traffic)\n", r.Revision, c.paint(c.stdout, string(r.Phase)), percent(r.Percent))
	if d := r.Now; d != nil {
		c.printf("  why       %s\n", clean(d.Reason))
		if d.WhyNot != "" {
			c.printf("  but       not carried out: %s\n", clean(d.WhyNot))
		}
		c.printf("  now       %d in Nomad, %d ready, %d starting\n", countAfter(*d), d.Ready, d.Starting)
		c.printf("  wanted    %d by the load, %d after bounds%s\n", d.Wanted, d.Desired, boundsText(*d))
		for _, m := range readings(*d) {
			c.printf("  measured  %s\n", m)
		}
	} else {
		c.printf("  why       nothing was decided since this leader began: it has no instances, and none are wanted\n")
	}
	c.printf("  next      %s\n", clean(r.Next))
	if len(r.Decisions) == 0 {
		return
	}
	var rows [][]string
	for _, d := range r.Decisions {
		rows = append(rows, []string{
			d.Time.Local().Format("15:04:05"), strconv.Itoa(d.Times), strconv.Itoa(d.Ready) + "+" + strconv.Itoa(d.Starting),
			fmt.Sprintf("%d→%d", d.Count, d.Desired), d.Rule, done(d), d.Reason,
		})
	}
	c.printf("\n")
	c.table(-1, []string{"UNTIL", "TIMES", "READY", "COUNT", "RULE", "DONE", "WHY"}, rows)
}

func countAfter(d wadi.Decision) int {
	if d.Carried {
		return d.Desired
	}
	return d.Count
}

// boundsText names the bounds in force.
func boundsText(d wadi.Decision) string {
	var parts []string
	if d.Floor.Count > 0 {
		parts = append(parts, fmt.Sprintf("at least %d by %s", d.Floor.Count, floorName(d.Floor)))
	}
	if d.Ceiling.Count > 0 {
		parts = append(parts, fmt.Sprintf("at most %d by %s", d.Ceiling.Count, floorName(d.Ceiling)))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// readings says what was measured, of each metric.
func readings(d wadi.Decision) []string {
	all := d.Readings
	if len(all) == 0 && d.Metric != "" {
		all = []wadi.Reading{{
			Metric: d.Metric, Stable: d.Stable, Panic: d.Panic, Target: d.Target,
			Coverage: d.Coverage, PanicCoverage: d.PanicCoverage, Wanted: d.Wanted, Panicking: d.Panicking, Valid: d.Valid,
		}}
	}
	var out []string
	for _, m := range all {
		text := fmt.Sprintf("%s: %s over the window (%s known), %s over the panic window (%s known), %s: %s",
			m.Metric, number(m.Stable), share(m.Coverage), number(m.Panic), share(m.PanicCoverage), perInstance(m), wantedText(m))
		if m.Panicking {
			text += ", in panic"
		}
		out = append(out, text)
	}
	if d.Sampled {
		out = append(out, "more instances are busy than are read each second: what the others carry is taken for the mean of those read")
	}
	return out
}

// perInstance says how much of a metric makes one more instance.
func perInstance(m wadi.Reading) string {
	if m.Target == 0 {
		return "one instance for any"
	}
	return number(m.Target) + " wanted per instance"
}

// wantedText is the answer of a metric, if it has one.
func wantedText(m wadi.Reading) string {
	if !m.Valid {
		return "not enough is known"
	}
	return strconv.Itoa(m.Wanted)
}

// number writes a measured value as people do.
func number(v float64) string {
	digits := 100.0
	if v < 0.005 { // Little, and not nothing.
		digits = 1e4
	}
	return strconv.FormatFloat(math.Round(v*digits)/digits, 'f', -1, 64)
}

// share writes a part of all that is all only if nothing is missing.
func share(v float64) string { return fmt.Sprintf("%.0f %%", math.Floor(100*v+1e-6)) }

// done is a word on what became of a decision.
func done(d wadi.Decision) string {
	switch {
	case d.Carried:
		return "yes"
	case d.Desired == d.Count:
		return "-"
	}
	return "no"
}
