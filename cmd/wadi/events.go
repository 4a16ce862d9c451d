package main

import (
	"context"
	"errors"
	"flag"

	"github.com/wadi-run/wadi"
)

func eventsCommand() command {
	var follow bool
	var service string
	return command{
		usage:    "wadi events [options]",
		synopsis: "Show events: what Wadi did and observed",
		help:     "With -json every event is a line of JSON.",
		remote:   true,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&follow, "follow", false, "show new events as they happen, until Ctrl-C")
			fs.StringVar(&service, "service", "", "only events of the service with this `name`")
		},
		run: func(ctx context.Context, c *call) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			err = client.Events(ctx, service, follow, func(e wadi.Event) error {
				if c.json {
					return c.printLine(e)
				}
				showEvent(c, e)
				return nil
			})
			switch {
			case follow && ctx.Err() != nil:
				return nil // Ctrl-C is how following ends.
			case follow && err == nil:
				return errors.New("the agent closed the stream")
			}
			return err
		},
	}
}

func showEvent(c *call, e wadi.Event) {
	about := e.Service
	if e.Revision != "" {
		about = e.Revision
	}
	c.printf("%s  %-14s %s: %s\n", e.Time.Local().Format("2006-01-02 15:04:05.000"), clean(e.Type), clean(about), clean(e.Message))
}
