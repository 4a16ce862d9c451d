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
		help: `Its instances finish their requests and stop; then all that Wadi made for it in
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
			return deleteService(ctx, c, client, c.args[0], detach)
		},
	}
}

// deleteService deletes a service, and waits until it is gone unless detach.
func deleteService(ctx context.Context, c *call, client *api.Client, name string, detach bool) error {
	leftBehind, readable := func() []string { return nil }, false
	answered := c.noticeSlowAnswer()
	wait := time.Duration(0)
	if !detach {
		if leftBehind, readable = watchDeletion(ctx, client, name); !readable {
			wait = maxDeletion // Without the right to read, "not found" says nothing: the agent waits.
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
	return c.printDeletion(out)
}

// printDeletion prints what became of a service or a revision that is deleted.
func (c *call) printDeletion(out api.Deletion) error {
	switch {
	case c.json:
		return c.printJSON(out)
	case out.Gone:
		c.printf("%s: gone\n", out.Name)
	default:
		c.printf("%s: marked for deletion\n", out.Name)
	}
	return nil
}

// lastEventsWithin is how long after a deletion its last events may arrive.
const lastEventsWithin = time.Second

// maxDeletion is how long the agent waits for the end of a service that the token may not
// read.
const maxDeletion = 10 * time.Minute

// watchDeletion reads a service's events from now on: once the service is gone, its events
// can't be read. left waits for the last event and returns what could not be removed.
// readable is false if the token may not read the service, or it does not exist.
func watchDeletion(ctx context.Context, client *api.Client, name string) (left func() []string, readable bool) {
	ended := make(chan struct{})
	var messages []string
	var before uint64 // Index of the last event before the deletion, as of an earlier service of that name.
	err := client.Events(ctx, api.EventQuery{Service: name}, func(e wadi.Event) error {
		before = e.Index
		return nil
	})
	if errors.Is(err, wadi.ErrNotFound) || errors.Is(err, wadi.ErrForbidden) {
		return func() []string { return nil }, false
	}
	go func() {
		defer close(ended)
		_ = client.Events(ctx, api.EventQuery{Service: name, Follow: true, After: before}, func(e wadi.Event) error {
			switch e.Type {
			case control.EventLeftBehind:
				messages = append(messages, e.Message)
			case control.EventDeleted:
				return errReported // It is the last.
			}
			return nil
		})
	}()
	return func() []string {
		select {
		case <-ended:
			return messages
		case <-time.After(lastEventsWithin):
			return nil // The stream may still append to messages.
		}
	}, true
}

// waitDeleted waits until a service is gone.
func waitDeleted(ctx context.Context, c *call, client *api.Client, name string) error {
	show := newProgress(c)
	defer show.end()
	f := &awaited{SubmittedService: api.SubmittedService{Name: name}, verdict: verdict{phase: "deleting", text: "instances are finishing"}}
	began, away := time.Now(), outage{}
	news := follow(ctx, client, name)
	defer news.end()
	tick := time.NewTicker(pollInterval) // For the time that the line shows.
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			show.end()
			writef(c.stderr, "Interrupted. The deletion goes on without this command.\n")
			return errReported
		case n := <-news.news:
			switch err := n.err; {
			case errors.Is(err, wadi.ErrNotFound):
				return nil
			case away.tolerates(err, time.Now()):
				f.text = "the agent doesn't answer; trying again"
			case err != nil:
				return err
			case !n.service.Deleting:
				return nil // Gone, and submitted anew.
			default:
				f.text = deletionText(n.service)
			}
			show.update(f, time.Now(), time.Since(began))
		case <-tick.C:
		}
		show.line([]*awaited{f}, time.Now(), time.Since(began))
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
