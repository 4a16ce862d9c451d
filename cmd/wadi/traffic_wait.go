package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
)

// orderTraffic orders other traffic, says what was ordered, and waits until callers are served
// like that, unless detach.
func orderTraffic(ctx context.Context, c *call, detach bool, order func(*api.Client) (api.TrafficSet, error)) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	began := time.Now()
	answered := c.noticeSlowAnswer()
	set, err := order(client)
	answered()
	if err != nil {
		if errors.Is(err, context.Canceled) {
			err = fmt.Errorf("interrupted: \"wadi traffic %s\" shows whether it was set", c.args[0])
		}
		return err
	}
	if !c.json {
		showOrdered(c, set)
	}
	if detach {
		if c.json {
			return c.printJSON(set)
		}
		return nil
	}
	return waitTraffic(ctx, c, client, set, began)
}

// showOrdered says what was ordered.
func showOrdered(c *call, set api.TrafficSet) {
	name := set.Service
	switch {
	case set.Aborted != "" && set.From == set.Aborted && slices.Equal(set.Before, set.Targets):
		c.printf("%s: the rollout of %s is aborted, %s gets its share back\n", name, set.Aborted, set.To)
		writef(c.stderr, "%s gets no share of \"latest\" until it is applied again.\n", set.Aborted)
	case set.To != "" && !set.Changed:
		c.printf("%s: %s has the traffic already\n", name, set.To)
	case set.To != "":
		c.printf("%s: goes back from %s to %s\n", name, set.From, set.To)
	case !set.Changed:
		c.printf("%s: the traffic is set like this already: %s\n", name, targetsText(set.Targets))
	default:
		c.printf("%s: %s (before: %s)\n", name, targetsText(set.Targets), targetsText(set.Before))
	}
	for _, t := range set.Before {
		if t.Tag != "" && !slices.ContainsFunc(set.Targets, func(o wadi.TrafficTarget) bool { return o.Tag == t.Tag }) {
			writef(c.stderr, "The tag %s of %s is given up.\n", clean(t.Tag), t.Revision)
		}
	}
	if wadi.Pinned(set.Targets) {
		writef(c.stderr, "\"latest\" is pinned: a new revision gets no traffic until it is set again (wadi traffic %s latest=100).\n", name)
	}
	for _, w := range set.Warnings {
		writef(c.stderr, "Warning: %s: %s\n", name, clean(w))
	}
}

// waitTraffic waits until callers are served as the traffic was set.
func waitTraffic(ctx context.Context, c *call, client *api.Client, set api.TrafficSet, began time.Time) error {
	s := &awaited{SubmittedService: api.SubmittedService{Name: set.Service, Generation: set.Generation}, verdict: verdict{phase: "pending", text: "waiting for the leader to start on it"}}
	var last api.Service
	w := &applyWait{
		call: c, client: client, services: []*awaited{s},
		judge: func(_ api.SubmittedService, v api.Service) verdict {
			last = v
			return verdictOfTraffic(set, v)
		},
		interrupted: "Interrupted. The traffic stays set, and moves without this command; see wadi traffic ",
	}
	w.show = newProgress(c)
	defer w.show.end()
	if err := w.follow(ctx, began); err != nil {
		return err
	}
	w.show.end()
	if c.json {
		reason := ""
		if s.failed {
			reason = s.text
		}
		err := c.printJSON(struct {
			api.TrafficSet
			Phase  string              `json:"phase"`
			Reason string              `json:"reason,omitempty"`
			Status []wadi.TargetStatus `json:"status"`
		}{set, s.phase, reason, last.Status.Traffic})
		if err != nil {
			return err
		}
	}
	if s.failed {
		return errReported
	}
	return nil
}

// verdictOfTraffic says how far the service v has got towards the traffic that was set.
func verdictOfTraffic(set api.TrafficSet, v api.Service) verdict {
	pending := func(text string) verdict { return verdict{phase: "pending", text: text} }
	switch {
	case v.Deleting:
		return verdict{done: true, failed: true, phase: "deleting", text: "it was deleted meanwhile"}
	case v.Generation > set.Generation && !slices.Equal(v.Service.Traffic, set.Targets):
		return verdict{done: true, failed: true, phase: "pending", text: "the traffic was set again meanwhile: " + targetsText(v.Service.Traffic)}
	case v.Status.Generation < set.Generation:
		return pending("waiting for the leader to start on it")
	case set.Aborted != "" && v.Status.Rollout.UnderWay() && v.Status.Rollout.Revision == set.Aborted:
		return pending("the rollout of " + set.Aborted + " is being aborted")
	}
	for _, c := range v.Status.Conditions {
		switch {
		case c.OK:
		case c.Type == control.ConditionRouted && namesFailed(v):
			return verdict{done: true, failed: true, phase: "failed", text: c.Message}
		case c.Type == control.ConditionRouted, c.Type == control.ConditionNetwork:
			return pending(c.Message)
		}
	}
	if v.Status.Rollout.UnderWay() {
		return pending(rolloutLine(v.Status.Rollout, time.Now()))
	}
	for _, t := range v.Status.Traffic {
		if wantedKnown(v.Status.Traffic) && !near(t.Percent, t.Wanted) {
			return pending(fmt.Sprintf("%s has %s of %s", t.Revision, percent(t.Percent), percent(t.Wanted)))
		}
	}
	return verdict{done: true, phase: "ready", text: sharesText(v.Status.Traffic)}
}

// wantedKnown reports whether the leader says what targets are to have; one of an earlier
// Wadi does not.
func wantedKnown(targets []wadi.TargetStatus) bool {
	return slices.ContainsFunc(targets, func(t wadi.TargetStatus) bool { return t.Wanted > 0 })
}

// near reports whether two shares are the same, in steps of 0.01 %.
func near(a, b float64) bool { return math.Abs(a-b) < 0.005 }

// sharesText is where requests go, in a few words.
func sharesText(targets []wadi.TargetStatus) string {
	var parts []string
	for _, t := range targets {
		if t.Percent > 0 {
			parts = append(parts, percent(t.Percent)+" "+t.Revision)
		}
	}
	return strings.Join(parts, ", ")
}
