package main

import (
	"context"
	"flag"
	"time"

	"github.com/wadi-run/wadi/api"
)

func applyCommand() command {
	var (
		detach     bool
		variables  variableFlags
		checkIndex checkIndexes
	)
	return command{
		usage:    "wadi apply [options] FILE|DIR|- ...",
		synopsis: "Submit services and wait until they are ready",
		help: `All services of the files are submitted together: all or none. A directory stands
for the .hcl files directly in it, - for standard input. HCL variables come from
WADI_VAR_name in the environment, -var-file and -var; later ones win.

The command waits until each new revision is ready and its rollout is done, or has
failed, and says why.
A revision that has failed is tried again when its file is applied again.
Ctrl-C ends the waiting; the services stay submitted.`,
		remote: true, min: 1, max: -1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&detach, "detach", false, "don't wait")
			variables.register(fs)
			fs.Var(&checkIndex, "check-index", "submit only if the service is stored with this `index` (0: only if it is new); NAME=INDEX\nfor one service of several, and may be repeated")
		},
		run: func(ctx context.Context, c *call) error {
			parts, err := submissions(c, &variables)
			if err != nil {
				return err
			}
			if err := checkIndex.addTo(parts); err != nil {
				return err
			}
			return apply(ctx, c, parts, detach)
		},
	}
}

// apply submits the parts, and waits until their services are ready unless detach.
func apply(ctx context.Context, c *call, parts []api.Submission, detach bool) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	began := time.Now()
	submitted, err := submitAll(ctx, c, client, parts)
	if err != nil {
		return err
	}
	if detach {
		return showSubmitted(c, submitted)
	}
	return waitReady(ctx, c, client, submitted, began)
}
