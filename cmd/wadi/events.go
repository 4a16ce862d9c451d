package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func eventsCommand() command {
	var q api.EventQuery
	return command{
		usage:    "wadi events [options]",
		synopsis: "Show events: what Wadi did and observed",
		help: `The latest thousand are kept, whichever agent leads. With -json every event is a line of
JSON. With -follow the command goes on where it was when another agent begins to lead.`,
		remote: true,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&q.Follow, "follow", false, "show new events as they happen, until Ctrl-C")
			fs.StringVar(&q.Service, "service", "", "only events of the service with this `name`")
			fs.Uint64Var(&q.After, "after", 0, "only events after the one with this `index`, which -json shows")
		},
		run: func(ctx context.Context, c *call) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			if q.Follow {
				return followEvents(ctx, c, client, q)
			}
			answered := c.noticeSlowAnswer()
			defer answered()
			return client.Events(ctx, q, func(e wadi.Event) error {
				answered()
				return c.printEvent(e)
			})
		},
	}
}

const (
	eventsRetry = time.Second // Between two tries to go on with a stream.
)

// followEvents shows events until Ctrl-C. A stream that ends, as when its agent stops, is
// taken up again behind the last event. The first has to begin.
func followEvents(ctx context.Context, c *call, client *api.Client, q api.EventQuery) error {
	away, seen := false, false
	for {
		err := client.Events(ctx, q, func(e wadi.Event) error {
			seen = true
			if away {
				writef(c.stderr, "The agent answers again.\n")
				away = false
			}
			q.After = e.Index
			return c.printEvent(e)
		})
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how following ends.
		case seen && q.After == 0 && err == nil: // Without an index there is nowhere to go on.
			return errors.New("the agent closed the stream")
		case err != nil && (q.After == 0 || !errors.Is(err, wadi.ErrUnavailable)):
			return err
		}
		if !away {
			writef(c.stderr, "The agent closed the stream, or does not answer; trying again.\n")
			away = true
		}
		_ = wadi.Sleep(ctx, eventsRetry)
	}
}

// printEvent shows one event, with -json as a line.
func (c *call) printEvent(e wadi.Event) error {
	if c.json {
		return c.printLine(e)
	}
	showEvent(c, e)
	return nil
}

func showEvent(c *call, e wadi.Event) {
	about := e.Service
	if e.Revision != "" {
		about = e.Revision
	}
	c.printf("%s  %-14s %s: %s\n", e.Time.Local().Format("2006-01-02 15:04:05.000"), clean(e.Type), clean(about), clean(e.Message))
}
