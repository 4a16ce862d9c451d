package main

import (
	"context"
	"flag"

	"github.com/wadi-run/wadi/api"
)

func revisionPinCommand() command {
	var remove bool
	cmd := remoteCommand(command{
		usage: "wadi revision pin [options] ID", synopsis: "Keep a revision, whatever its age",
		help: `A pinned revision stays until it is unpinned: retention does not remove it, and it can't be
deleted. It needs no traffic, and has no instances without. At most 50 of a service can be pinned.`,
		min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (api.Pin, error) {
			if remove {
				return client.Unpin(ctx, c.args[0])
			}
			return client.Pin(ctx, c.args[0])
		},
		func(c *call, p api.Pin) {
			if p.Pinned {
				c.printf("%s: pinned\n", p.Revision)
				return
			}
			c.printf("%s: not pinned\n", p.Revision)
		})
	cmd.flags = func(fs *flag.FlagSet) {
		fs.BoolVar(&remove, "clear", false, "unpin it: retention may remove it again")
	}
	return cmd
}
