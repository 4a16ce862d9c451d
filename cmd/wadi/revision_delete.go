package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func revisionDeleteCommand() command {
	var detach bool
	return command{
		usage: "wadi revision delete [options] ID", synopsis: "Delete a revision that has no traffic",
		help: `The revision is removed with its Nomad job, and its number is not used again. The newest
revision, one with traffic or a tag, and a pinned one are not deleted.`,
		remote: true, min: 1, max: 1,
		flags: func(fs *flag.FlagSet) { fs.BoolVar(&detach, "detach", false, "don't wait") },
		run: func(ctx context.Context, c *call) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			return deleteRevision(ctx, c, client, c.args[0], detach)
		},
	}
}

// deleteRevision deletes a revision, and waits until it is gone unless detach.
func deleteRevision(ctx context.Context, c *call, client *api.Client, id string, detach bool) error {
	answered := c.noticeSlowAnswer()
	out, err := client.DeleteRevision(ctx, id, 0)
	answered()
	if err != nil {
		return err
	}
	if !detach && !out.Gone {
		if err := waitRevisionGone(ctx, c, client, id); err != nil {
			return err
		}
		out = api.Deletion{Name: id, Gone: true}
	}
	return c.printDeletion(out)
}

// waitRevisionGone waits until a revision that is marked for deletion is gone. It marks it again
// and again: the right to read is not needed for that.
func waitRevisionGone(ctx context.Context, c *call, client *api.Client, id string) error {
	show := newProgress(c)
	defer show.end()
	f := &awaited{SubmittedService: api.SubmittedService{Name: id}, verdict: verdict{phase: "deleting"}}
	began, away := time.Now(), outage{}
	for {
		out, err := client.DeleteRevision(ctx, id, time.Second)
		f.text = "its job is removed when its last instance has ended"
		switch {
		case ctx.Err() != nil:
			show.end()
			writef(c.stderr, "Interrupted. The deletion goes on without this command.\n")
			return errReported
		case errors.Is(err, wadi.ErrNotFound) || err == nil && out.Gone:
			return nil
		case away.tolerates(err, time.Now()):
			f.text = "the agent doesn't answer; trying again"
			_ = wadi.Sleep(ctx, pollInterval)
		case err != nil:
			return err
		}
		if took := time.Since(began); took > slowAnswerAfter { // Mostly it is gone before.
			show.update(f, time.Now(), took)
			show.line([]*awaited{f}, time.Now(), took)
		}
	}
}
