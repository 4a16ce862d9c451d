package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
)

// explanation is why a service has its number of instances.
type explanation struct {
	Service   string                   `json:"service"`
	Overrides map[string]wadi.Override `json:"overrides,omitempty"`
	Missing   string                   `json:"missing,omitempty"` // Why the usage of instances is not known, if the service is scaled by it.

	Revisions []revisionExplanation `json:"revisions"`
}

type revisionExplanation struct {
	Revision  string          `json:"revision"`
	Percent   float64         `json:"percent"` // Of the service's traffic.
	Phase     wadi.Phase      `json:"phase"`
	Next      string          `json:"next"`          // When the count changes next without other input.
	Now       *wadi.Decision  `json:"now,omitempty"` // The latest decision; null: there is none yet, as at zero.
	Decisions []wadi.Decision `json:"decisions"`     // The latest decisions, oldest first.
}

func explainCommand() command {
	var last int
	cmd := remoteCommand(command{
		usage: "wadi explain [options] NAME", synopsis: "Explain why a service has its number of instances",
		help: `It shows, for each revision that has instances or traffic, the latest decision
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
	cmd.flags = func(fs *flag.FlagSet) { fs.IntVar(&last, "n", 10, "`number` of decisions of each revision") }
	return cmd
}

// explain selects the revisions that have traffic or a recent decision.
func explain(s api.Service, all []wadi.Decision, last int, now time.Time) explanation {
	out := explanation{Service: s.Service.Name, Overrides: s.Overrides, Revisions: []revisionExplanation{}}
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
		e.Next = nextChange(s, r, e.Now, now)
		out.Revisions = append(out.Revisions, e)
	}
	return out
}

// atZero reports whether the last decision left no instance.
func atZero(d *wadi.Decision) bool {
	return d == nil || d.Desired == 0 && (d.Executed || d.Count == 0)
}

// nextChange says when the count changes next if the load stays as it is.
func nextChange(s api.Service, r wadi.RevisionStatus, d *wadi.Decision, now time.Time) string {
	switch {
	case r.Prefetching && atZero(d):
		return "it starts when its images are on the nodes: " + r.Prefetch
	case r.Phase == wadi.Failed:
		return "it did not become ready and gets no instances; apply its file again to try again, or submit another revision"
	case d != nil && now.Before(d.PausedUntil):
		return fmt.Sprintf("its image could not be had: it is asked for again in %s at the soonest", remaining(d.PausedUntil, now))
	case atZero(d) && r.Percent > 0:
		return fmt.Sprintf("a request wakes it, with %s", wadi.Quantity(max(1, s.Service.Scale.Activation), "instance"))
	case atZero(d):
		return "it has no traffic"
	}
	var parts []string
	if now.Before(d.OverrideUntil) {
		parts = append(parts, fmt.Sprintf("the override ends in %s", remaining(d.OverrideUntil, now)))
	}
	if d.Floor.Until.After(now) {
		parts = append(parts, fmt.Sprintf("the floor of %d (%s) ends in %s", d.Floor.Count, floorName(d.Floor), remaining(d.Floor.Until, now)))
	}
	switch {
	case d.Desired > d.Count && !d.Executed && d.WhyNot != "":
		parts = append(parts, "not executed: "+d.WhyNot)
	case d.Pulling > 0 && now.Before(d.StartUntil):
		parts = append(parts, fmt.Sprintf("it pulls its image: the idle time before zero begins when it is ready, and the start is aborted in %s (timeout.progress)", remaining(d.StartUntil, now)))
	case now.Before(d.StartUntil):
		parts = append(parts, fmt.Sprintf("it is starting: the idle time before zero begins when it is ready, and the start is aborted in %s (timeout.progress)", remaining(d.StartUntil, now)))
	case !d.ZeroAt.IsZero() && d.Desired <= 1:
		parts = append(parts, fmt.Sprintf("zero in %s if no request comes", remaining(d.ZeroAt, now)))
	case d.Panicking:
		parts = append(parts, fmt.Sprintf("fewer in %s at the soonest, if the load stays below", remaining(d.PanicSince.Add(s.Service.Scale.Window.D()), now)))
	}
	if len(parts) == 0 {
		return "stays as it is until the load changes"
	}
	return strings.Join(parts, "; ")
}
