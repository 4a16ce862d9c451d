package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

func floorName(b wadi.Bound) string {
	if b.Name == "" {
		return b.By
	}
	return b.By + " " + b.Name
}

func showExplanation(c *call, e explanation) {
	for _, id := range slices.Sorted(maps.Keys(e.Overrides)) {
		what := id
		if id == "" {
			what = e.Service
		}
		c.printf("%s is %s\n\n", what, overrideText(e.Overrides[id], time.Now()))
	}
	if e.Missing != "" {
		c.printf("cpu and memory: %s\n\n", clean(e.Missing))
	}
	if len(e.Revisions) == 0 {
		c.printf("There is no decision about %s yet.\n", e.Service)
	}
	for i, r := range e.Revisions {
		if i > 0 {
			c.printf("\n")
		}
		showRevision(c, r)
	}
}

// pullingText says how many of the starting instances pull an image.
func pullingText(d wadi.Decision) string {
	if d.Pulling == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d %s an image)", d.Pulling, wadi.Plural(d.Pulling, "pulls", "pull"))
}

func showRevision(c *call, r revisionExplanation) {
	c.printf("%s  (%s, %s of the traffic)\n", r.Revision, c.paint(c.stdout, string(r.Phase)), percent(r.Percent))
	if d := r.Now; d != nil {
		c.printf("  why       %s\n", clean(d.Reason))
		if d.WhyNot != "" {
			c.printf("  but       not executed: %s\n", clean(d.WhyNot))
		}
		left := countAfter(*d) // Those that the decision stops are no longer meant to serve.
		c.printf("  now       %d in Nomad, %d ready, %d starting%s\n", left, min(d.Ready, left), min(d.Starting, max(0, left-d.Ready)), pullingText(*d))
		c.printf("  wanted    %d by the load, %d after bounds%s\n", d.Wanted, d.Desired, boundsText(*d))
		for _, m := range readings(*d) {
			c.printf("  measured  %s\n", m)
		}
	} else {
		c.printf("  why       no decision since this leader's term began: it has no instances, and needs none\n")
	}
	c.printf("  next      %s\n", clean(r.Next))
	if len(r.Decisions) == 0 {
		return
	}
	var rows [][]string
	for _, d := range r.Decisions {
		rows = append(rows, []string{
			d.Time.Local().Format("15:04:05"), strconv.Itoa(d.Times), strconv.Itoa(d.Ready) + "+" + strconv.Itoa(d.Starting),
			fmt.Sprintf("%d→%d", d.Count, d.Desired), d.Rule, executedWord(d), d.Reason,
		})
	}
	c.printf("\n")
	c.table(-1, []string{"UNTIL", "TIMES", "READY", "COUNT", "RULE", "DONE", "WHY"}, rows)
}

func countAfter(d wadi.Decision) int {
	if d.Executed {
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

// readings describes the measurements of each metric.
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
		out = append(out, "more instances are busy than are read each second: the others count as the mean of those read")
	}
	return out
}

// perInstance says how much of a metric one instance should carry.
func perInstance(m wadi.Reading) string {
	if m.Target == 0 {
		return "one instance for any"
	}
	return number(m.Target) + " wanted per instance"
}

// wantedText is how many instances a metric wants, if that is known.
func wantedText(m wadi.Reading) string {
	if !m.Valid {
		return "not enough is known"
	}
	return strconv.Itoa(m.Wanted)
}

// executedWord says whether a decision was executed; "-": there was nothing to do.
func executedWord(d wadi.Decision) string {
	switch {
	case d.Executed:
		return "yes"
	case d.Desired == d.Count:
		return "-"
	}
	return "no"
}
