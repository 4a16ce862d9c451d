package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// maxOutage is how long the agent may not answer before a command gives up.
const maxOutage = 30 * time.Second

// awaited is one service that apply waits for.
type awaited struct {
	api.SubmittedService
	verdict
	URL  string
	read bool // Its status was read at least once.
}

// applyWait waits for the services of one submission.
type applyWait struct {
	*call
	client    *api.Client
	submitted api.Submitted
	services  []*awaited
	show      *progress
	outage    outage

	judge       func(api.SubmittedService, api.Service) verdict
	interrupted string // What Ctrl-C says; the names of the services follow.
}

// waitReady waits until every submitted service is ready or has failed.
func waitReady(ctx context.Context, c *call, client *api.Client, submitted api.Submitted, began time.Time) error {
	if !c.json {
		showWarnings(c, submitted)
	}
	w := &applyWait{
		call: c, client: client, submitted: submitted, judge: verdictOf,
		interrupted: "Interrupted. The services stay submitted and are rolled out without this command; see wadi service status ",
	}
	for _, s := range submitted.Services {
		if len(s.Retried) > 0 && !c.json {
			c.printf("%s: %s\n", s.Name, outcomes(s, "new revision"))
		}
		w.services = append(w.services, &awaited{SubmittedService: s, verdict: verdict{phase: "pending", text: outcomes(s, "new revision")}})
	}
	w.show = newProgress(c)
	defer w.show.end()
	if err := w.follow(ctx, began); err != nil {
		return err
	}
	w.show.end()
	return w.reportResults()
}

// follow shows the services as they change, until all are ready or have failed.
func (w *applyWait) follow(ctx context.Context, began time.Time) error {
	open := map[string]*awaited{}
	for _, s := range w.services {
		open[s.Name] = s
	}
	f := follow(ctx, w.client, slices.Collect(maps.Keys(open))...)
	defer f.end()
	tick := time.NewTicker(pollInterval) // For the time that the line shows.
	defer tick.Stop()
	for len(open) > 0 {
		select {
		case news := <-f.news:
			s := open[news.name]
			if s == nil {
				continue
			}
			if err := w.note(ctx, s, news); err != nil {
				return err
			}
			w.show.update(s, time.Now(), time.Since(began))
			if s.done {
				f.drop(s.Name)
				delete(open, s.Name)
			}
		case <-tick.C:
		case <-ctx.Done():
			return w.reportInterrupt()
		}
		w.show.line(w.services, time.Now(), time.Since(began))
	}
	return nil
}

// note takes in the status of one service. An error ends the wait.
func (w *applyWait) note(ctx context.Context, s *awaited, news serviceNews) error {
	err := news.err
	switch {
	case ctx.Err() != nil:
		return w.reportInterrupt()
	case errors.Is(err, wadi.ErrNotFound) && !s.read:
		w.show.end()
		writef(w.stderr, "It was submitted, but whether it becomes ready can't be seen: it was deleted meanwhile, or this token may not read it.\n")
		return err
	case errors.Is(err, wadi.ErrNotFound):
		s.verdict = verdict{done: true, failed: true, phase: "deleting", text: "it was deleted meanwhile"}
	case w.outage.tolerates(err, time.Now()):
		s.text = "the agent doesn't answer; trying again"
	case err != nil:
		w.show.end()
		writef(w.stderr, "The services stay submitted.\n")
		return err
	default:
		s.verdict, s.URL, s.read = w.judge(s.SubmittedService, news.service), news.service.Status.URL, true
	}
	return nil
}

func (w *applyWait) reportInterrupt() error {
	w.show.end()
	names := make([]string, 0, len(w.services))
	for _, s := range w.services {
		if !s.done {
			names = append(names, s.Name)
		}
	}
	writef(w.stderr, "%s%s\n", w.interrupted, strings.Join(names, ", "))
	return errReported
}

// appliedService is one service in the JSON output.
type appliedService struct {
	api.SubmittedService
	Phase  string `json:"phase"`
	URL    string `json:"url,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// reportResults prints warnings and the JSON. Its error makes the exit code if a service
// has failed.
func (w *applyWait) reportResults() error {
	out := struct {
		Services []appliedService `json:"services"`
		Warnings []wadi.Problem   `json:"warnings,omitempty"`
	}{Warnings: w.submitted.Warnings}
	failed := false
	for _, s := range w.services {
		r := appliedService{SubmittedService: s.SubmittedService, Phase: s.phase, URL: s.URL}
		if s.failed {
			r.Reason, failed = s.text, true
		}
		if s.warning != "" {
			r.Warnings = append(slices.Clone(r.Warnings), s.warning)
			if !w.json {
				writef(w.stderr, "Warning: %s: %s\n", s.Name, clean(s.warning))
			}
		}
		out.Services = append(out.Services, r)
	}
	if w.json {
		if err := w.printJSON(out); err != nil {
			return err
		}
	}
	if failed {
		return errReported
	}
	return nil
}

// outage measures how long an agent has not answered.
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
