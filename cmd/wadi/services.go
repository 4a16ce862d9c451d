package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// remoteCommand is a command that asks an agent for something and shows it.
func remoteCommand[T any](cmd command, ask func(context.Context, *api.Client, *call) (T, error), show func(*call, T)) command {
	cmd.remote = true
	cmd.run = func(ctx context.Context, c *call) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		answered := c.patience()
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

func serviceListCommand() command {
	return remoteCommand(command{usage: "wadi service list [options]", synopsis: "List services"},
		func(ctx context.Context, client *api.Client, _ *call) ([]api.ServiceSummary, error) {
			return client.Services(ctx)
		},
		func(c *call, all []api.ServiceSummary) {
			if len(all) == 0 {
				c.printf("No services.\n")
				return
			}
			var rows [][]string
			for _, s := range all {
				rows = append(rows, []string{s.Name, s.Namespace, s.Phase, s.Latest, shares(s.Traffic), age(time.Unix(s.Submitted, 0), time.Now()), orDash(s.URL)})
				for _, t := range s.Traffic {
					if t.Tag != "" {
						rows = append(rows, []string{"", "", "", "", t.Revision + " @" + t.Tag, "", orDash(t.URL)})
					}
				}
			}
			c.table(2, []string{"NAME", "NAMESPACE", "PHASE", "LATEST", "TRAFFIC", "SUBMITTED", "URL"}, rows)
		})
}

func serviceInspectCommand() command {
	return remoteCommand(command{
		usage: "wadi service inspect [options] NAME", synopsis: "Print all that is stored about a service as JSON",
		help: "Every setting is shown with its value, defaults too.", min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (api.Service, error) {
			return client.Service(ctx, c.args[0])
		}, nil)
}

func serviceStatusCommand() command {
	return remoteCommand(command{usage: "wadi service status [options] NAME", synopsis: "Show how a service is doing", min: 1, max: 1},
		func(ctx context.Context, client *api.Client, c *call) (api.Service, error) {
			return client.Service(ctx, c.args[0])
		}, showStatus)
}

func showStatus(c *call, s api.Service) {
	st := s.Status
	c.printf("Name        %s\n", s.Service.Name)
	c.printf("Namespace   %s\n", s.Service.Namespace)
	c.printf("Phase       %s\n", c.paint(c.stdout, s.Phase))
	c.printf("URL         %s\n", orDash(st.URL))
	c.printf("Generation  %d", s.Generation)
	if st.Generation < s.Generation {
		c.printf(" (what follows is about %d)", st.Generation)
	}
	c.printf("\nIndex       %d\n", s.Index)
	c.printf("Submitted   %s ago, from %s\n", age(time.Unix(s.Submitted, 0), time.Now()), clean(s.File))
	for _, id := range slices.Sorted(maps.Keys(s.Holds)) {
		c.printf("Instances   %s%s\n", strings.TrimLeft(id+" ", " "), holdText(s.Holds[id], time.Now()))
	}
	var rows [][]string
	if len(st.Traffic) > 1 || len(st.Traffic) == 1 && st.Traffic[0].Tag != "" {
		for _, t := range st.Traffic {
			rows = append(rows, []string{t.Revision, percent(t.Percent), orDash(t.Tag), orDash(t.URL)})
		}
		c.printf("\n")
		c.table(-1, []string{"TARGET", "TRAFFIC", "TAG", "URL"}, rows)
		rows = nil
	}
	for _, r := range st.Revisions {
		rows = append(rows, []string{r.ID, string(r.Phase), percent(r.Percent), age(time.Unix(r.Created, 0), time.Now()), r.Reason})
	}
	if len(rows) > 0 {
		c.printf("\n")
		c.table(1, []string{"REVISION", "PHASE", "TRAFFIC", "AGE", "REASON"}, rows)
	}
	rows = nil
	for _, cond := range st.Conditions {
		ok := "no"
		if cond.OK {
			ok = "yes"
		}
		rows = append(rows, []string{cond.Type, ok, age(cond.Since, time.Now()), orDash(cond.Reason), cond.Message})
	}
	if len(rows) > 0 {
		c.printf("\n")
		c.table(1, []string{"CONDITION", "OK", "SINCE", "REASON", "MESSAGE"}, rows)
	}
	if len(st.Events) > 0 {
		c.printf("\n")
		for _, e := range st.Events {
			showEvent(c, e)
		}
	}
}

// shares says in a few words which revisions have the traffic.
func shares(targets []wadi.TargetStatus) string {
	var parts []string
	for _, t := range targets {
		switch {
		case t.Percent == 100:
			return t.Revision
		case t.Percent > 0:
			parts = append(parts, t.Revision+" "+percent(t.Percent))
		}
	}
	return orDash(strings.Join(parts, ", "))
}

func percent(p float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", p), "0"), ".") + " %"
}

func revisionListCommand() command {
	return remoteCommand(command{usage: "wadi revision list [options] SERVICE", synopsis: "List the revisions of a service", min: 1, max: 1},
		func(ctx context.Context, client *api.Client, c *call) ([]api.Revision, error) {
			return client.Revisions(ctx, c.args[0])
		},
		func(c *call, all []api.Revision) {
			var rows [][]string
			for _, r := range all {
				rows = append(rows, []string{r.ID, string(r.Phase), percent(r.Percent), age(time.Unix(r.Created, 0), time.Now()), r.Reason})
			}
			c.table(1, []string{"REVISION", "PHASE", "TRAFFIC", "AGE", "REASON"}, rows)
		})
}

func eventsCommand() command {
	var follow bool
	var service string
	return command{
		usage:    "wadi events [options]",
		synopsis: "Show what Wadi did and saw",
		help:     "With -json every event is a line of JSON.",
		remote:   true,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&follow, "follow", false, "go on with what happens, until Ctrl-C")
			fs.StringVar(&service, "service", "", "only what is about the service with this `name`")
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
