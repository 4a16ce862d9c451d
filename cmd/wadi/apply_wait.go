package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

const (
	pollInterval = 200 * time.Millisecond
	// maxOutage is how long an agent may be away before a command gives up on it.
	maxOutage = 30 * time.Second
)

// awaited is one service that apply waits for.
type awaited struct {
	api.SubmittedService
	verdict
	URL  string
	read bool // At least once.
}

// waitReady waits until every submitted service is ready or has failed.
func waitReady(ctx context.Context, c *call, client *api.Client, submitted api.Submitted, began time.Time) error {
	if !c.json {
		showWarnings(c, submitted)
	}
	var all []*awaited
	for _, s := range submitted.Services {
		if len(s.Retried) > 0 && !c.json {
			c.printf("%s: %s\n", s.Name, outcomes(s, "new revision"))
		}
		all = append(all, &awaited{SubmittedService: s, verdict: verdict{phase: "pending", text: outcomes(s, "new revision")}})
	}
	show := newProgress(c)
	defer show.end()
	away := outage{}
	for {
		open := 0
		for _, f := range all {
			if f.done {
				continue
			}
			v, err := client.Service(ctx, f.Name)
			switch {
			case ctx.Err() != nil:
				return reportInterrupt(c, show, all)
			case errors.Is(err, wadi.ErrNotFound) && !f.read:
				show.end()
				writef(c.stderr, "It was submitted. Whether it becomes ready can't be seen: it was deleted meanwhile, or may not be read with this token.\n")
				return err
			case errors.Is(err, wadi.ErrNotFound):
				f.verdict = verdict{done: true, failed: true, phase: "deleting", text: "it was deleted meanwhile"}
			case away.tolerates(err, time.Now()):
				f.text = "the agent doesn't answer; trying again"
			case err != nil:
				show.end()
				writef(c.stderr, "What was submitted stands.\n")
				return err
			default:
				f.verdict, f.URL, f.read = verdictOf(f.SubmittedService, v), v.Status.URL, true
			}
			show.update(f, time.Now(), time.Since(began))
			if !f.done {
				open++
			}
		}
		show.line(all, time.Now(), time.Since(began))
		if open == 0 {
			show.end()
			return reportResults(c, all, submitted)
		}
		select {
		case <-ctx.Done():
			return reportInterrupt(c, show, all)
		case <-time.After(pollInterval):
		}
	}
}

func reportInterrupt(c *call, show *progress, all []*awaited) error {
	show.end()
	names := make([]string, 0, len(all))
	for _, f := range all {
		if !f.done {
			names = append(names, f.Name)
		}
	}
	writef(c.stderr, "Interrupted. What was submitted stands, and goes on without this command; see wadi service status %s\n",
		strings.Join(names, ", "))
	return errReported
}

// reportResults prints the JSON, if that is wanted, and turns failures into an exit code.
func reportResults(c *call, all []*awaited, submitted api.Submitted) error {
	type result struct {
		api.SubmittedService
		Phase  string `json:"phase"`
		URL    string `json:"url,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	out := struct {
		Services []result     `json:"services"`
		Warnings []api.Detail `json:"warnings,omitempty"`
	}{Warnings: submitted.Warnings}
	failed := false
	for _, f := range all {
		r := result{SubmittedService: f.SubmittedService, Phase: f.phase, URL: f.URL}
		if f.failed {
			r.Reason, failed = f.text, true
		}
		if f.warning != "" {
			r.Warnings = append(slices.Clone(r.Warnings), f.warning)
			if !c.json {
				writef(c.stderr, "Warning: %s: %s\n", f.Name, clean(f.warning))
			}
		}
		out.Services = append(out.Services, r)
	}
	if c.json {
		if err := c.printJSON(out); err != nil {
			return err
		}
	}
	if failed {
		return errReported
	}
	return nil
}

// outage measures how long an agent hasn't answered.
type outage struct{ since time.Time }

// tolerates reports whether err may be waited out.
func (a *outage) tolerates(err error, now time.Time) bool {
	if err == nil || !errors.Is(err, wadi.ErrUnavailable) {
		a.since = time.Time{}
		return false
	}
	if a.since.IsZero() {
		a.since = now
	}
	return now.Sub(a.since) < maxOutage
}
