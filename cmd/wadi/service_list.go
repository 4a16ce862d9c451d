package main

import (
	"context"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func serviceListCommand() command {
	return remoteCommand(command{usage: "wadi service list [options]", synopsis: "List services"},
		func(ctx context.Context, client *api.Client, _ *call) ([]api.ServiceSummary, error) {
			return client.Services(ctx)
		},
		func(c *call, all []api.ServiceSummary) {
			if len(all) == 0 {
				c.printf("No services.\n")
				return
			}
			var rows [][]string
			for _, s := range all {
				rows = append(rows, []string{s.Name, s.Namespace, s.Phase, s.Latest, shares(s.Traffic), age(time.Unix(s.Submitted, 0), time.Now()), orDash(s.URL)})
				for _, t := range s.Traffic {
					if t.Tag != "" {
						rows = append(rows, []string{"", "", "", "", t.Revision + " @" + t.Tag, "", orDash(t.URL)})
					}
				}
			}
			c.table(2, []string{"NAME", "NAMESPACE", "PHASE", "LATEST", "TRAFFIC", "SUBMITTED", "URL"}, rows)
		})
}

// shares says in a few words which revisions have the traffic.
func shares(targets []wadi.TargetStatus) string {
	var parts []string
	for _, t := range targets {
		switch {
		case t.Percent == 100:
			return t.Revision
		case t.Percent > 0:
			parts = append(parts, t.Revision+" "+percent(t.Percent))
		}
	}
	return orDash(strings.Join(parts, ", "))
}
