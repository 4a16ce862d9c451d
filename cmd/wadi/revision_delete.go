package main

import (
	"context"
	"flag"
	"time"

	"github.com/wadi-run/wadi/api"
)

// maxRevisionDeletion is how long the agent waits for the end of a revision. One without
// traffic has few instances left, or none.
const maxRevisionDeletion = 5 * time.Minute

func revisionDeleteCommand() command {
	var detach bool
	cmd := remoteCommand(command{
		usage: "wadi revision delete [options] ID", synopsis: "Delete a revision that has no traffic",
		help: `The revision is removed with its Nomad job, and its number is not used again. The newest
revision, one with traffic or a tag, and a pinned one are not deleted.`,
		min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (api.Deletion, error) {
			if detach {
				return client.DeleteRevision(ctx, c.args[0], 0)
			}
			return client.DeleteRevision(ctx, c.args[0], maxRevisionDeletion)
		},
		func(c *call, d api.Deletion) {
			if d.Gone {
				c.printf("%s: gone\n", d.Name)
				return
			}
			c.printf("%s: marked for deletion\n", d.Name)
		})
	cmd.flags = func(fs *flag.FlagSet) { fs.BoolVar(&detach, "detach", false, "don't wait") }
	return cmd
}
