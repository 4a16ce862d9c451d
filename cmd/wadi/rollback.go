package main

import (
	"context"
	"flag"

	"github.com/wadi-run/wadi/api"
)

func rollbackCommand() command {
	var to string
	var detach bool
	var checkIndex indexFlag
	return command{
		usage:    "wadi rollback [options] NAME",
		synopsis: "Give all requests back to an earlier revision",
		help: `It goes back to the newest revision that was ready and is older than the one with most
of the traffic, or to the one of -to. Its instances start before the traffic moves;
tags stay. A rollout that is under way is aborted: its revision gives its share back.

After that "latest" is pinned: a revision that is applied gets no traffic until it is
set again, for instance by wadi traffic NAME latest=100. A rollout that was aborted pins
nothing, as the next revision begins its own.`,
		remote: true, min: 1, max: 1,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&to, "to", "", "go back to the revision with this `ID`, or number")
			fs.BoolVar(&detach, "detach", false, "don't wait")
			fs.Var(&checkIndex, "check-index", "go back only if the service is stored with this `index`")
		},
		run: func(ctx context.Context, c *call) error {
			if to != "" {
				targets, err := targetArgs(c.args[0], []string{to})
				if err != nil || targets[0].Tag != "" || targets[0].Percent != nil {
					return usagef("-to %q is no revision; write an ID such as hello-00003, or its number", to)
				}
				to = targets[0].Revision
			}
			return orderTraffic(ctx, c, detach, func(client *api.Client) (api.TrafficSet, error) {
				return client.Rollback(ctx, c.args[0], api.Rollback{To: to, CheckIndex: checkIndex.index})
			})
		},
	}
}
