package main

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func trafficCommand() command {
	var detach bool
	var checkIndex indexFlag
	return command{
		usage:    "wadi traffic [options] NAME [TARGET ...]",
		synopsis: "Set or show where the requests of a service go",
		help: `A target is REVISION=PERCENT, with @TAG if it has one, or REVISION@TAG for a tag without a
share. REVISION is latest, an ID such as hello-00003, or its number. The percents are in
steps of 0.01 and sum to 100. These are all targets: a tag that is not named is given up.
Without a target it shows the present ones.

  wadi traffic hello latest=90 hello-00003=10@stable

The command waits until callers are served like that: a revision gets its share when
its instances are ready. What is set stays until the traffic is set again, here or by
a file with traffic blocks.`,
		remote: true, min: 1, max: -1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&detach, "detach", false, "don't wait")
			fs.Var(&checkIndex, "check-index", "set it only if the service is stored with this `index`")
		},
		run: func(ctx context.Context, c *call) error {
			if len(c.args) == 1 {
				return showTraffic(ctx, c)
			}
			targets, err := targetArgs(c.args[0], c.args[1:])
			if err != nil {
				return err
			}
			return orderTraffic(ctx, c, detach, func(client *api.Client) (api.TrafficSet, error) {
				out, err := client.SetTraffic(ctx, c.args[0], api.Traffic{Targets: targets, CheckIndex: checkIndex.index})
				return out, inArgs(err, c.args[1:])
			})
		},
	}
}

// indexFlag is the index that must be stored; nil: any.
type indexFlag struct{ index *uint64 }

func (i *indexFlag) String() string { return "" }

func (i *indexFlag) Set(v string) error {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no index", v)
	}
	i.index = &n
	return nil
}

// targetArgs reads traffic targets as they are typed.
func targetArgs(service string, args []string) ([]api.Target, error) {
	targets := make([]api.Target, 0, len(args))
	for _, arg := range args {
		rest, tag, tagged := strings.Cut(arg, "@")
		revision, share, given := strings.Cut(rest, "=")
		t := api.Target{Revision: revision, Tag: tag}
		switch {
		case revision == "":
			return nil, usagef("the target %q names no revision; write one like latest=90 or %s=10@stable", arg, wadi.RevisionID(service, 3))
		case tagged && tag == "":
			return nil, usagef("the target %q has an empty tag; write it after the @, or leave out both", arg)
		case !given && !tagged && len(args) > 1:
			return nil, usagef("the target %q has no percent; write %s=PERCENT, or %s@TAG for a tag without a share", arg, revision, revision)
		}
		if n, err := strconv.Atoi(revision); err == nil && n > 0 && onlyDigits.MatchString(revision) {
			t.Revision = wadi.RevisionID(service, n)
		}
		if given {
			percent, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
			if err != nil || !plainNumber.MatchString(strings.TrimSuffix(share, "%")) {
				return nil, usagef("the target %q has no number after the =; write one like 10 or 0.5", arg)
			}
			t.Percent = &percent
		}
		targets = append(targets, t)
	}
	return targets, nil
}

var (
	onlyDigits  = regexp.MustCompile(`^[0-9]{1,9}$`)
	plainNumber = regexp.MustCompile(`^-?[0-9]{1,9}(\.[0-9]{1,9})?$`)
)

// inArgs is a refusal with the arguments as they were typed in place of paths.
func inArgs(err error, args []string) error {
	refusal, ok := asRefusal(err)
	if !ok {
		return err
	}
	typed := *refusal
	typed.Details = slices.Clone(refusal.Details)
	for i := range typed.Details {
		var n int
		if _, err := fmt.Sscanf(typed.Details[i].Path, "targets[%d]", &n); err == nil && n >= 0 && n < len(args) {
			typed.Details[i].Path = args[n]
		}
	}
	return &typed
}

// showTraffic shows the traffic of a service.
func showTraffic(ctx context.Context, c *call) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	answered := c.noticeSlowAnswer()
	s, err := client.Service(ctx, c.args[0])
	answered()
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(trafficView{Service: s.Service.Name, Index: s.Index, Targets: s.Service.Traffic, Order: s.TrafficOrder, Status: s.Status.Traffic})
	}
	var rows [][]string
	for _, t := range s.Service.Traffic {
		rows = append(rows, []string{t.Revision, percent(t.Percent), orDash(t.Tag)})
	}
	c.printf("Set %s:\n\n", howSet(s))
	c.table(-1, []string{"TARGET", "TRAFFIC", "TAG"}, rows)
	showTargets(c, s.Status.Traffic)
	showRollout(c, s)
	return nil
}

// trafficView is the traffic of a service in the JSON output.
type trafficView struct {
	Service string               `json:"service"`
	Index   uint64               `json:"index"`
	Targets []wadi.TrafficTarget `json:"targets"`
	Order   wadi.TrafficOrder    `json:"traffic_order,omitzero"`
	Status  []wadi.TargetStatus  `json:"status"`
}

// targetsText is the traffic in a few words.
func targetsText(targets []wadi.TrafficTarget) string {
	parts := make([]string, 0, len(targets))
	for _, t := range targets {
		text := t.Revision + " " + percent(t.Percent)
		if t.Tag != "" {
			text += " @" + t.Tag
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
