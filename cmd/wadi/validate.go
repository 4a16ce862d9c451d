package main

import (
	"context"
	"flag"

	"github.com/wadi-run/wadi/api"
)

func validateCommand() command {
	var variables variableFlags
	return command{
		usage:    "wadi validate [options] FILE|DIR|- ...",
		synopsis: "Check files as apply does, and change nothing",
		help: `The agent checks the files with Nomad's own parser and plan. Exit code 0 means
that the same call of apply would be accepted now.`,
		remote: true, min: 1, max: -1,
		flags: func(fs *flag.FlagSet) { variables.register(fs) },
		run: func(ctx context.Context, c *call) error {
			parts, err := submissions(c, &variables)
			if err != nil {
				return err
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			var all api.Submitted
			for _, part := range parts {
				answered := c.noticeSlowAnswer()
				out, err := client.Validate(ctx, part)
				answered()
				if err != nil {
					return err
				}
				all.Services = append(all.Services, out.Services...)
				all.Warnings = append(all.Warnings, out.Warnings...)
			}
			if c.json {
				return c.printJSON(all)
			}
			showWarnings(c, all)
			for _, s := range all.Services {
				c.printf("%s: good, %s\n", s.Name, outcomes(s, "would make revision"))
			}
			return nil
		},
	}
}
