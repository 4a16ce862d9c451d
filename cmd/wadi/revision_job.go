package main

import (
	"context"
	"encoding/json"
	"flag"

	"github.com/wadi-run/wadi/jobspecs/plainjob"
)

func revisionJobCommand() command {
	var hcl bool
	var count int
	return command{
		usage: "wadi revision job [options] ID", synopsis: "Print the plain Nomad job of a revision, which runs without Wadi",
		help: `The job has the name of the service, and none of what Wadi adds: no queue-proxy, and a
port of the app itself. What that changes for the app and its callers is said on standard
error, with -hcl in comments of the job.

    wadi revision job hello-00001 | nomad job run -json -
    wadi revision job -hcl hello-00001 > hello.nomad.hcl`,
		remote: true, min: 1, max: 1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&hcl, "hcl", false, "print HCL in place of JSON")
			fs.IntVar(&count, "count", 0, "`number` of instances; 0: scale.min of the revision, and at least 1")
		},
		run: func(ctx context.Context, c *call) error {
			switch {
			case hcl && c.json:
				return usagef("-hcl and -json exclude each other")
			case count < 0:
				return usagef("-count %d is less than zero", count)
			}
			job, err := plainJob(ctx, c, count)
			if err != nil {
				return err
			}
			return printJob(c, job, hcl)
		},
	}
}

// plainJob asks the agent for the revision and converts its job.
func plainJob(ctx context.Context, c *call, count int) (plainjob.Job, error) {
	client, err := c.client()
	if err != nil {
		return plainjob.Job{}, err
	}
	answered := c.noticeSlowAnswer()
	rev, err := client.Revision(ctx, c.args[0])
	answered()
	if err != nil {
		return plainjob.Job{}, err
	}
	if count == 0 {
		count = max(1, rev.Spec.Scale.Min)
	}
	return plainjob.New(rev, count)
}

// printJob prints a job as HCL, or as the JSON that "nomad job run -json" and Nomad's API
// read.
func printJob(c *call, job plainjob.Job, hcl bool) error {
	if hcl {
		text, err := job.HCL()
		if err != nil {
			return err
		}
		c.printf("%s", text)
		return nil
	}
	for _, note := range job.Notes {
		writef(c.stderr, "Note: %s\n", clean(note))
	}
	return c.printJSON(struct{ Job json.RawMessage }{job.Data})
}
