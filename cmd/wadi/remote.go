package main

import (
	"context"

	"github.com/wadi-run/wadi/api"
)

// remoteCommand is a command that asks an agent for a T and shows it. A nil show prints
// JSON.
func remoteCommand[T any](cmd command, ask func(context.Context, *api.Client, *call) (T, error), show func(*call, T)) command {
	cmd.remote = true
	cmd.run = func(ctx context.Context, c *call) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		answered := c.noticeSlowAnswer()
		out, err := ask(ctx, client, c)
		answered()
		if err != nil {
			return err
		}
		if c.json || show == nil {
			return c.printJSON(out)
		}
		show(c, out)
		return nil
	}
	return cmd
}
