package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/wadi-run/wadi/api"
)

func reloadCommand() command {
	return command{
		usage:    "wadi reload [options]",
		synopsis: "Have an agent read its configuration again",
		help: `What can change without a restart is in force afterwards; what waits for a restart
is named. A configuration with a mistake changes nothing: all mistakes are printed,
and the exit code is 1. Each agent is reloaded by itself; SIGHUP does the same.

Where Nomad has ACLs, or from another machine, it needs a token with agent:write.`,
		remote: true,
		run: func(ctx context.Context, c *call) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			answered := c.noticeSlowAnswer()
			out, err := client.Reload(ctx)
			answered()
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(out)
			}
			c.printf("%s", reloadText(out))
			for _, w := range out.Warnings {
				writef(c.stderr, "Warning: %s\n", clean(w))
			}
			return nil
		},
	}
}

// reloadText says what a reload has done, a setting on each line.
func reloadText(r api.Reloaded) string {
	var b strings.Builder
	list := func(title string, settings []string) {
		if len(settings) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s:\n", title)
		for _, s := range settings {
			fmt.Fprintf(&b, "  %s\n", clean(s))
		}
	}
	if len(r.Changed)+len(r.Restart) == 0 {
		return "Nothing has changed.\n"
	}
	list("Changed", r.Changed)
	list("Waits for a restart of the agent", r.Restart)
	return b.String()
}
