package main

import (
	"context"
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
				rows = append(rows, []string{r.ID, string(r.Phase), percent(r.Percent), age(time.Unix(r.Created, 0), time.Now()), r.Reason})
			}
			c.table(1, []string{"REVISION", "PHASE", "TRAFFIC", "AGE", "REASON"}, rows)
		})
}
