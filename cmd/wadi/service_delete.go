package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
)

func serviceDeleteCommand() command {
	var detach bool
	return command{
		usage:    "wadi service delete [options] NAME",
		synopsis: "Delete a service and wait until it is gone",
		help: `Its instances finish their requests and end; then all that Wadi made for it in
Nomad and Consul is removed.`,
		remote: true, min: 1, max: 1,
		flags: func(fs *flag.FlagSet) { fs.BoolVar(&detach, "detach", false, "don't wait") },
		run: func(ctx context.Context, c *call) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			name := c.args[0]
			leftBehind, readable := func() []string { return nil }, false
			answered := c.noticeSlowAnswer()
			wait := time.Duration(0)
			if !detach {
				if leftBehind, readable = watchDeletion(ctx, client, name); !readable {
					wait = maxDeletion // To who may not read it, it looks gone at once: the agent knows better.
				}
			}
			out, err := client.Delete(ctx, name, 0, wait)
			answered()
			if err != nil {
				return err
			}
			if readable {
				if err := waitDeleted(ctx, c, client, name); err != nil {
					return err
				}
				out = api.Deletion{Name: name, Gone: true}
			}
			for _, what := range leftBehind() {
				writef(c.stderr, "Warning: %s\n", clean(what))
			}
			switch {
			case c.json:
				return c.printJSON(out)
			case out.Gone:
				c.printf("%s: gone\n", name)
			default:
				c.printf("%s: marked for deletion\n", name)
			}
			return nil
		},
	}
}

// lastEventsWithin is how long the events of a deletion may come after it.
const lastEventsWithin = time.Second

// maxDeletion is how long the agent waits for the end of a service that may not be read.
const maxDeletion = 10 * time.Minute

// watchDeletion listens to a service's events: once it is gone nobody may ask for
// them. What is returned waits for the last, and says what stays of the service.
// readable is false if the service may not be read, or is not there.
func watchDeletion(ctx context.Context, client *api.Client, name string) (left func() []string, readable bool) {
	ended := make(chan struct{})
	var told []string
	var before time.Time // Of an earlier service's of that name.
	err := client.Events(ctx, name, false, func(e wadi.Event) error {
		before = e.Time
		return nil
	})
	if errors.Is(err, wadi.ErrNotFound) || errors.Is(err, wadi.ErrForbidden) {
		return func() []string { return nil }, false
	}
	go func() {
		defer close(ended)
		_ = client.Events(ctx, name, true, func(e wadi.Event) error {
			switch {
			case !e.Time.After(before):
			case e.Type == control.EventLeftBehind:
				told = append(told, e.Message)
			case e.Type == control.EventDeleted:
				return errReported // It is the last.
			}
			return nil
		})
	}()
	return func() []string {
		select {
		case <-ended:
			return told
		case <-time.After(lastEventsWithin):
			return nil // The stream goes on to write.
		}
	}, true
}

// waitDeleted waits until a service that is being deleted isn't there any more.
func waitDeleted(ctx context.Context, c *call, client *api.Client, name string) error {
	show := newProgress(c)
	defer show.end()
	f := &awaited{SubmittedService: api.SubmittedService{Name: name}, verdict: verdict{phase: "deleting", text: "instances are finishing"}}
	began, away := time.Now(), outage{}
	for {
		v, err := client.Service(ctx, name)
		switch {
		case ctx.Err() != nil:
			show.end()
			writef(c.stderr, "Interrupted. The deletion goes on without this command.\n")
			return errReported
		case errors.Is(err, wadi.ErrNotFound):
			return nil
		case away.tolerates(err, time.Now()):
			f.text = "the agent doesn't answer; trying again"
		case err != nil:
			return err
		case !v.Deleting:
			return nil // Gone, and submitted anew by somebody.
		default:
			f.text = deletionText(v)
		}
		show.update(f, time.Now(), time.Since(began))
		show.line([]*awaited{f}, time.Now(), time.Since(began))
		select {
		case <-ctx.Done():
		case <-time.After(pollInterval):
		}
	}
}

func deletionText(v api.Service) string {
	for _, c := range v.Status.Conditions {
		if !c.OK && c.Message != "" && v.Status.Phase == "deleting" {
			return c.Message
		}
	}
	return "instances are finishing"
}
