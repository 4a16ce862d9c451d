package main

import (
	"context"
	"strings"
	"time"

	"github.com/wadi-run/wadi/api"
)

func revisionListCommand() command {
	return remoteCommand(command{usage: "wadi revision list [options] SERVICE", synopsis: "List the revisions of a service", min: 1, max: 1},
		func(ctx context.Context, client *api.Client, c *call) ([]api.Revision, error) {
			return client.Revisions(ctx, c.args[0])
		},
		func(c *call, all []api.Revision) {
			var rows [][]string
			for _, r := range all {
				rows = append(rows, []string{r.ID, string(r.Phase), percent(r.Percent), age(time.Unix(r.Created, 0), time.Now()), marked(r)})
			}
			c.table(1, []string{"REVISION", "PHASE", "TRAFFIC", "AGE", "REASON"}, rows)
		})
}

// marked is the reason of a revision's phase, and what callers want of it.
func marked(r api.Revision) string {
	var all []string
	if r.Deleting {
		all = append(all, "being deleted")
	}
	if r.Pinned {
		all = append(all, "pinned")
	}
	if r.Reason != "" {
		all = append(all, r.Reason)
	}
	return strings.Join(all, ", ")
}
