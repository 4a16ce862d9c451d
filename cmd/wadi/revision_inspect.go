package main

import (
	"context"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func revisionInspectCommand() command {
	return remoteCommand(command{
		usage: "wadi revision inspect [options] ID", synopsis: "Print all that is stored about a revision as JSON",
		help: "The job is the one that Wadi registers with Nomad, with the count 0. Whether the revision\nis ready, \"wadi revision list\" tells.", min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (wadi.Revision, error) {
			return client.Revision(ctx, c.args[0])
		}, nil)
}
