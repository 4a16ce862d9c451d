package main

import (
	"context"
	"flag"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func serviceStatusCommand() command {
	var watch bool
	cmd := remoteCommand(command{
		usage: "wadi service status [options] NAME", synopsis: "Show the state of a service",
		help: "With -watch and -json every state is a line of JSON.", min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (api.Service, error) {
			return client.Service(ctx, c.args[0])
		}, showStatus)
	cmd.flags = func(fs *flag.FlagSet) {
		fs.BoolVar(&watch, "watch", false, "show it again whenever it changes, until Ctrl-C")
	}
	once := cmd.run
	cmd.run = func(ctx context.Context, c *call) error {
		if !watch {
			return once(ctx, c)
		}
		return watchService(ctx, c, func(s api.Service) any { return s }, showStatus)
	}
	return cmd
}

func showStatus(c *call, s api.Service) {
	showSummary(c, s)
	showTargets(c, s.Status.Traffic)
	showRevisions(c, s.Status.Revisions)
	showImages(c, s.Latest, s.Status.Revisions)
	showConditions(c, s.Status.Conditions)
	for i, w := range s.Warnings {
		if i == 0 {
			c.printf("\n")
		}
		c.printf("Warning: %s\n", clean(w))
	}
	if len(s.Status.Events) > 0 {
		c.printf("\n")
	}
	for _, e := range s.Status.Events {
		showEvent(c, e)
	}
}

func showSummary(c *call, s api.Service) {
	c.printf("Name        %s\n", s.Service.Name)
	c.printf("Namespace   %s\n", s.Service.Namespace)
	c.printf("Phase       %s\n", c.paint(c.stdout, s.Phase))
	c.printf("URL         %s\n", orDash(s.Status.URL))
	c.printf("Generation  %d", s.Generation)
	if s.Status.Generation < s.Generation {
		c.printf(" (what follows is about %d)", s.Status.Generation)
	}
	c.printf("\nIndex       %d\n", s.Index)
	c.printf("Submitted   %s ago, from %s\n", age(time.Unix(s.Submitted, 0), time.Now()), clean(s.File))
	for _, id := range slices.Sorted(maps.Keys(s.Overrides)) {
		c.printf("Instances   %s%s\n", strings.TrimLeft(id+" ", " "), overrideText(s.Overrides[id], time.Now()))
	}
}

// showTargets lists the traffic targets, unless it is one without a tag that has what it is to
// have.
func showTargets(c *call, targets []wadi.TargetStatus) {
	known := wantedKnown(targets)
	if len(targets) == 0 || len(targets) == 1 && targets[0].Tag == "" && (!known || near(targets[0].Percent, targets[0].Wanted)) {
		return
	}
	var rows [][]string
	for _, t := range targets {
		wanted := "-"
		if known {
			wanted = percent(t.Wanted)
		}
		rows = append(rows, []string{t.Revision, percent(t.Percent), wanted, orDash(t.Tag), orDash(t.URL)})
	}
	c.printf("\n")
	c.table(-1, []string{"TARGET", "TRAFFIC", "WANTED", "TAG", "URL"}, rows)
}

func showRevisions(c *call, revisions []wadi.RevisionStatus) {
	var rows [][]string
	for _, r := range revisions {
		rows = append(rows, []string{r.ID, string(r.Phase), percent(r.Percent), age(time.Unix(r.Created, 0), time.Now()), r.Reason})
	}
	if len(rows) > 0 {
		c.printf("\n")
		c.table(1, []string{"REVISION", "PHASE", "TRAFFIC", "AGE", "REASON"}, rows)
	}
}

// maxNote bounds the note of an image, in characters: a condition has the whole.
const maxNote = 80

// showImages lists the images of the newest revision, and of those with traffic.
func showImages(c *call, latest string, revisions []wadi.RevisionStatus) {
	var rows [][]string
	for _, r := range revisions {
		if r.ID != latest && r.Percent == 0 {
			continue
		}
		for _, i := range r.Images {
			rows = append(rows, []string{r.ID, i.Task, i.Name, orDash(wadi.ShortDigest(i.Digest)), wadi.OneLine(i.Warning, maxNote)})
		}
	}
	if len(rows) > 0 {
		c.printf("\n")
		c.table(-1, []string{"REVISION", "TASK", "IMAGE", "DIGEST", "NOTE"}, rows)
	}
}

func showConditions(c *call, conditions []wadi.Condition) {
	var rows [][]string
	for _, cond := range conditions {
		ok := "no"
		if cond.OK {
			ok = "yes"
		}
		rows = append(rows, []string{cond.Type, ok, age(cond.Since, time.Now()), orDash(cond.Reason), cond.Message})
	}
	if len(rows) > 0 {
		c.printf("\n")
		c.table(1, []string{"CONDITION", "OK", "SINCE", "REASON", "MESSAGE"}, rows)
	}
}
