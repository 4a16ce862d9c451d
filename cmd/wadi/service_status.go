package main

import (
	"context"
	"flag"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// statusView is a service in the JSON output.
type statusView struct {
	api.Service
	Live map[string]wadi.Decision `json:"live,omitempty"` // The last scaling decision of each revision.
}

func serviceStatusCommand() command {
	var watch, all bool
	cmd := remoteCommand(command{
		usage: "wadi service status [options] NAME", synopsis: "Show the state of a service",
		help: `TRAFFIC is what a revision has, WANTED what it has once it is ready and its rollout is
done. INSTANCES are those that are ready, of those there are to be, and LOAD is their
average, as the autoscaler saw it last. With -watch and -json every state is a line of JSON.`, min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (statusView, error) {
			s, err := client.Service(ctx, c.args[0])
			if err != nil {
				return statusView{}, err
			}
			return statusView{s, latestDecisions(ctx, client, c.args[0])}, nil
		}, func(c *call, v statusView) { showGlance(c, v.Service, v.Live, all) })
	cmd.flags = func(fs *flag.FlagSet) {
		fs.BoolVar(&watch, "watch", false, "show it again whenever it changes, until Ctrl-C")
		fs.BoolVar(&all, "all", false, "show all revisions: without it, those with traffic and the ten newest")
	}
	once := cmd.run
	cmd.run = func(ctx context.Context, c *call) error {
		if !watch {
			return once(ctx, c)
		}
		client, err := c.client()
		if err != nil {
			return err
		}
		var live map[string]wadi.Decision
		var read time.Time
		return watchService(ctx, c, func(s api.Service) any { return s }, func(c *call, s api.Service) {
			if _, drawn := c.stdout.(*screen); drawn && time.Since(read) > liveInterval { // Elsewhere a state is shown when it changes.
				live, read = latestDecisions(ctx, client, s.Service.Name), time.Now()
			}
			showGlance(c, s, live, all)
		})
	}
	return cmd
}

// liveInterval is how often a screen shows anew what instances do.
const liveInterval = 2 * time.Second

// showGlance shows a service, with what its instances do if that is known, and all of its
// revisions or the newest.
func showGlance(c *call, s api.Service, live map[string]wadi.Decision, all bool) {
	showSummary(c, s)
	showRollout(c, s)
	showTargets(c, s.Status.Traffic)
	showRevisions(c, s.Status.Revisions, live, all)
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
	if s.TrafficOrder != (wadi.TrafficOrder{}) {
		c.printf("Traffic     set %s\n", howSet(s))
	}
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

// shownRevisions bounds the revisions without traffic that are shown unless all are wanted.
const shownRevisions = 10

// showRevisions lists the revisions, newest last. Of many, the newest and those with traffic.
func showRevisions(c *call, revisions []wadi.RevisionStatus, live map[string]wadi.Decision, all bool) {
	var rows [][]string
	hidden := 0
	known := slices.ContainsFunc(revisions, func(r wadi.RevisionStatus) bool { return r.Wanted > 0 })
	for i, r := range revisions {
		if !all && r.Percent == 0 && r.Wanted == 0 && i < len(revisions)-shownRevisions {
			hidden++
			continue
		}
		row := []string{r.ID, string(r.Phase), percent(r.Percent), "-"}
		if known { // A leader of an earlier Wadi does not say it.
			row[3] = percent(r.Wanted)
		}
		if live != nil {
			row = append(row, instancesText(live, r.ID), loadText(live, r.ID))
		}
		rows = append(rows, append(row, age(time.Unix(r.Created, 0), time.Now()), r.Reason))
	}
	if len(rows) == 0 {
		return
	}
	header := []string{"REVISION", "PHASE", "TRAFFIC", "WANTED"}
	if live != nil {
		header = append(header, "INSTANCES", "LOAD")
	}
	c.printf("\n")
	c.table(1, append(header, "AGE", "REASON"), rows)
	if hidden > 0 {
		c.printf("%s without traffic: -all shows them\n", wadi.Quantity(hidden, "older revision"))
	}
}

// instancesText is how many instances of a revision are ready, of how many there are to be.
func instancesText(live map[string]wadi.Decision, id string) string {
	d, ok := live[id]
	if !ok {
		return "-"
	}
	return strconv.Itoa(d.Ready) + "/" + strconv.Itoa(d.Count)
}

// loadText is the average load of a revision over the window of its scaling.
func loadText(live map[string]wadi.Decision, id string) string {
	d, ok := live[id]
	if !ok || d.Metric == "" {
		return "-"
	}
	return number(d.Stable) + " " + string(d.Metric)
}

// latestDecisions are the last scaling decisions of a service, by revision; nil if they can't
// be had soon: the leader alone knows them.
func latestDecisions(ctx context.Context, client *api.Client, service string) map[string]wadi.Decision {
	ctx, cancel := context.WithTimeout(ctx, decisionsTimeout)
	defer cancel()
	all, err := client.Decisions(ctx, service)
	if err != nil || len(all) == 0 {
		return nil
	}
	out := map[string]wadi.Decision{}
	for _, d := range all {
		out[d.Revision] = d // The oldest comes first.
	}
	return out
}

// decisionsTimeout bounds the call for what only makes the status richer.
const decisionsTimeout = 2 * time.Second

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
