package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/scheduler"
)

// leaderPrefetches are the jobs that fetch images, as package control keeps them: with the
// agent's own token, as they run nothing of a user's.
type leaderPrefetches struct {
	leaderNomad
	nomad        *nomad.Client
	installation *installation
}

var _ control.PrefetchJobs = leaderPrefetches{}

func (l leaderPrefetches) PrefetchJobs(ctx context.Context) ([]scheduler.PrefetchJob, error) {
	name, err := l.installation.read(ctx)
	if err != nil {
		return nil, err
	}
	jobs, err := l.nomad.PrefetchJobs(ctx, name)
	out := make([]scheduler.PrefetchJob, 0, len(jobs))
	for _, j := range jobs {
		out = append(out, scheduler.PrefetchJob(j))
	}
	return out, err
}

func (l leaderPrefetches) RegisterPrefetch(ctx context.Context, job json.RawMessage) (refused string, err error) {
	if err := l.lease.Confirm(ctx); err != nil {
		return "", err
	}
	err = l.nomad.RegisterPrefetch(ctx, job)
	var invalid *nomad.InvalidError
	switch {
	case errors.Is(err, wadi.ErrConflict):
		return "no image is fetched: Nomad has another job with the ID of the one that would fetch them", nil
	case errors.As(err, &invalid), errors.Is(err, wadi.ErrForbidden):
		return fmt.Sprintf("no image is fetched: Nomad refuses the job: %s", err), nil
	}
	return "", err
}

func (l leaderPrefetches) Prefetched(ctx context.Context, namespace, id string) (scheduler.Prefetch, error) {
	got, err := l.nomad.Prefetched(ctx, namespace, id)
	if err != nil {
		return scheduler.Prefetch{}, err
	}
	allocs := make([]scheduler.PrefetchAlloc, 0, len(got.Allocs))
	for _, a := range got.Allocs {
		next := scheduler.PrefetchAlloc{Node: a.Node, Created: a.Created, Status: a.Status, Desired: a.Desired}
		for _, t := range a.Tasks {
			next.Tasks = append(next.Tasks, scheduler.PrefetchTask(t))
		}
		allocs = append(allocs, next)
	}
	return scheduler.Prefetch{Placed: got.Placed, NoRoom: got.NoRoom, Nodes: scheduler.PrefetchNodes(allocs)}, nil
}

// newPrefetcher returns the prefetcher, which reports to the controller.
func (t *term) newPrefetcher() *control.Prefetcher {
	return &control.Prefetcher{
		Jobs: leaderPrefetches{t.jobs, t.nomad, t.installation}, Services: t.controller.Services,
		Render: func(r wadi.Revision) (json.RawMessage, []string, error) {
			p, err := jobspecs.PrefetchJob(r, t.installation.name())
			return p.Job, p.Skipped, err
		},
		Changed: t.controller.Touch, Events: t.events, Log: t.log.Named("prefetcher"),
	}
}
