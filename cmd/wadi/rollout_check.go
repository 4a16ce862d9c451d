package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func rolloutCheckCommand() command {
	var since time.Duration
	cmd := remoteCommand(command{
		usage: "wadi rollout check [options] NAME", synopsis: "Compare what a service's revisions have answered",
		help: `It sends no request and changes nothing. It shows, side by side, the requests of
each revision and their errors, how long answers took to begin, cold starts and
the time that instances ran, and what the gate of the service's rollout would
conclude. Requests that reached no instance are among them.`,
		min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (api.RolloutCheck, error) {
			return client.CheckRollout(ctx, c.args[0], since)
		}, showRolloutCheck)
	cmd.flags = func(fs *flag.FlagSet) {
		fs.DurationVar(&since, "since", 10*time.Minute, "the `time` up to now that is compared, 10s to 24h")
	}
	return cmd
}

func showRolloutCheck(c *call, check api.RolloutCheck) {
	rows := make([][]string, 0, len(check.Revisions))
	for _, r := range check.Revisions {
		failed := fmt.Sprint(r.Errors)
		if r.Requests > 0 {
			failed += fmt.Sprintf(" (%s)", percent(100*float64(r.Errors)/float64(r.Requests)))
		}
		rows = append(rows, []string{
			r.Revision, percent(r.Percent), fmt.Sprint(r.Requests), failed, latency(r.P50, r.Requests), latency(r.P99, r.Requests),
			fmt.Sprint(r.ColdStarts), fmt.Sprintf("%.0f", r.InstanceSeconds), codesInWords(r.Codes),
		})
	}
	if len(rows) == 0 {
		c.printf("No revision of %s has had requests or instances since %s.\n", check.Service, check.Since.Local().Format(time.TimeOnly))
		return
	}
	c.table(-1, []string{"REVISION", "TRAFFIC", "REQUESTS", "ERRORS", "P50", "P99", "COLD STARTS", "INSTANCE-SECONDS", "ANSWERS"}, rows)
	for _, r := range check.Revisions {
		if r.Unknown != "" {
			c.printf("\nOf %s this is known only since %s: %s.\n", r.Revision, r.From.Local().Format(time.TimeOnly), clean(r.Unknown))
		}
	}
	verdict := map[string]string{"go-on": "goes on", "wait": "waits", "back": "goes back"}[check.Decision]
	if verdict == "" {
		c.printf("\nNo verdict: %s.\n", clean(check.Reason))
		return
	}
	c.printf("\nFrom %s to %s, a gate %s: %s.\n", check.Before, check.After, verdict, clean(check.Reason))
}

// latency is a quantile of a revision's latencies in milliseconds, or in seconds from ten on.
func latency(d wadi.Duration, requests uint64) string {
	switch {
	case requests == 0:
		return "-"
	case d.D() >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.D().Seconds())
	case d.D() >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", d.D().Seconds()*1000)
	}
	return fmt.Sprintf("%.1f ms", d.D().Seconds()*1000)
}

// codesInWords lists the most frequent codes.
func codesInWords(codes map[string]uint64) string {
	const most = 5
	names := slices.SortedFunc(maps.Keys(codes), func(a, b string) int {
		if codes[a] != codes[b] {
			return int(min(1, max(-1, int64(codes[b])-int64(codes[a]))))
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for i, name := range names {
		if i == most {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, fmt.Sprintf("%s: %d", clean(name), codes[name]))
	}
	return orDash(strings.Join(parts, ", "))
}
