package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// PrefetchJobs is how the prefetcher keeps its jobs in Nomad.
type PrefetchJobs interface {
	JobReader
	// PrefetchJobs lists those of this installation.
	PrefetchJobs(ctx context.Context) ([]scheduler.PrefetchJob, error)
	// RegisterPrefetch registers a job. refused says why Nomad will never take it; empty: it
	// has, or there is an error that may pass.
	RegisterPrefetch(ctx context.Context, job json.RawMessage) (refused string, err error)
	// Prefetched reads how far a job is.
	Prefetched(ctx context.Context, namespace, id string) (scheduler.Prefetch, error)
	Purge(ctx context.Context, namespace, id string) error
}

// Prefetcher has the images of new revisions fetched to the nodes that could run them, each
// by a job of its own in Nomad, which it removes when nothing waits for it any more. Only the
// leader runs one. It finds the jobs of earlier leaders by their meta, and goes on with them.
type Prefetcher struct {
	Jobs     PrefetchJobs
	Services func() *View // The controller's; nil: there is none yet.
	// Render makes the job for a revision; nil: it has no image to fetch. skipped are
	// sentences about images that the job does not fetch.
	Render  func(r wadi.Revision) (job json.RawMessage, skipped []string, err error)
	Changed func(service string) // Called when there is news of a service's revision.
	Events  *Events
	Log     hclog.Logger

	mu   sync.Mutex
	seen map[string]scheduler.Prefetch // By revision that waits.

	// What follows is owned by the goroutine of Run.
	view      *View
	want      []scheduler.PrefetchWant
	revisions map[string]wadi.Revision
	skipped   map[string][]string // By revision.
	busy      bool                // There may be jobs.
	recheck   time.Time           // When to look for left jobs again.
	lastError string
}

const (
	prefetchEvery   = 500 * time.Millisecond // While there are jobs.
	prefetchRecheck = time.Minute            // How soon a job that was left is found.
	prefetchTimeout = 20 * time.Second       // Of one pass.
)

// Run makes passes until ctx ends.
func (p *Prefetcher) Run(ctx context.Context) error {
	tick := time.NewTicker(prefetchEvery)
	defer tick.Stop()
	p.busy, p.skipped = true, map[string][]string{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := p.pass(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != p.lastError {
			p.Log.Warn("images can't be prefetched", "error", err)
			p.lastError = err.Error()
		} else if err == nil {
			p.lastError = ""
		}
	}
}

// Prefetch is how far the images of a revision are that waits for them.
func (p *Prefetcher) Prefetch(revision string) (scheduler.Prefetch, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, known := p.seen[revision]
	return seen, known
}

func (p *Prefetcher) pass(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prefetchTimeout)
	defer cancel()
	v := p.Services()
	if v == nil {
		return nil
	}
	if v != p.view {
		p.view = v
		p.look(v)
	}
	now := time.Now()
	if len(p.want) == 0 && !p.busy && now.Before(p.recheck) {
		return nil
	}
	jobs, err := p.Jobs.PrefetchJobs(ctx)
	if err != nil {
		for _, w := range p.want {
			p.note(w, scheduler.Prefetch{Problem: err.Error()})
		}
		return err
	}
	p.busy, p.recheck = len(jobs) > 0, now.Add(prefetchRecheck)
	var errs []error
	for _, step := range scheduler.PlanPrefetches(p.want, jobs) {
		if err := p.execute(ctx, step); err != nil {
			errs = append(errs, fmt.Errorf("%s the job of images of %s: %w", step.Kind, step.Want.Revision+step.Job.ID, err))
		}
	}
	return errors.Join(errs...)
}

// look finds out which revisions wait for their images.
func (p *Prefetcher) look(v *View) {
	p.want, p.revisions = nil, map[string]wadi.Revision{}
	for _, s := range v.Services {
		if !s.Service.ImagePrefetch || s.Deleting {
			continue
		}
		for _, r := range s.Revisions {
			rs := s.State.Revisions[r.ID]
			if rs.Phase == "" || !scheduler.AwaitsImages(&s.Service, s.Latest, r.ID, rs) {
				continue
			}
			p.revisions[r.ID] = r
			p.want = append(p.want, scheduler.PrefetchWant{Namespace: s.Service.Namespace, Service: s.Service.Name, Revision: r.ID, Since: rs.Since})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.seen {
		if _, waits := p.revisions[id]; !waits {
			delete(p.seen, id)
			delete(p.skipped, id)
		}
	}
}

// note keeps what is known of a revision, and reports it if it is news.
func (p *Prefetcher) note(w scheduler.PrefetchWant, now scheduler.Prefetch) {
	p.mu.Lock()
	before, known := p.seen[w.Revision]
	same := known && reflect.DeepEqual(before, now)
	if p.seen == nil {
		p.seen = map[string]scheduler.Prefetch{}
	}
	p.seen[w.Revision] = now
	p.mu.Unlock()
	if !same {
		p.Changed(w.Service)
	}
}

func (p *Prefetcher) execute(ctx context.Context, step scheduler.PrefetchStep) error {
	switch step.Kind {
	case scheduler.PrefetchPurge:
		return p.purge(ctx, step.Job)
	case scheduler.PrefetchStart:
		return p.start(ctx, step.Want)
	case scheduler.PrefetchEnqueue:
		p.note(step.Want, scheduler.Prefetch{Queued: true})
	case scheduler.PrefetchStopped:
		p.note(step.Want, scheduler.Prefetch{Off: "the job that fetches its images was stopped in Nomad"})
	case scheduler.PrefetchRead:
		return p.read(ctx, step)
	}
	return nil
}

// purge removes a job, if it still is what was seen. Nomad ends its containers.
func (p *Prefetcher) purge(ctx context.Context, j scheduler.PrefetchJob) error {
	_, same, err := jobUnchanged(ctx, p.Jobs, j.Namespace, j.ID, j.Index)
	if err != nil || !same {
		return err // The next pass plans anew.
	}
	p.Log.Debug("job of images purged", "namespace", j.Namespace, "job", j.ID)
	return p.Jobs.Purge(ctx, j.Namespace, j.ID)
}

func (p *Prefetcher) start(ctx context.Context, w scheduler.PrefetchWant) error {
	if seen, _ := p.Prefetch(w.Revision); seen.Off != "" {
		return nil // It is not noted yet that nothing is fetched.
	}
	job, skipped, err := p.Render(p.revisions[w.Revision])
	if err != nil {
		p.note(w, scheduler.Prefetch{Off: "the job that fetches its images can't be made: " + err.Error()})
		return err
	}
	p.skipped[w.Revision] = skipped
	if job == nil {
		p.note(w, scheduler.Prefetch{Off: strings.Join(append([]string{"there is no image to fetch"}, skipped...), "; ")})
		return nil
	}
	refused, err := p.Jobs.RegisterPrefetch(ctx, job)
	switch {
	case refused != "":
		p.note(w, scheduler.Prefetch{Off: refused})
	case err != nil:
		p.note(w, scheduler.Prefetch{Problem: err.Error()})
		return err
	default:
		p.busy = true
		p.Events.Add(w.Service, w.Revision, EventPrefetching, "its images are fetched to the nodes that could run it")
		p.note(w, scheduler.Prefetch{Skipped: skipped})
	}
	return nil
}

func (p *Prefetcher) read(ctx context.Context, step scheduler.PrefetchStep) error {
	w := step.Want
	now, err := p.Jobs.Prefetched(ctx, step.Job.Namespace, step.Job.ID)
	if err != nil {
		now = scheduler.Prefetch{Problem: err.Error()}
	}
	skipped, known := p.skipped[w.Revision]
	if !known { // An earlier leader's.
		_, skipped, _ = p.Render(p.revisions[w.Revision]) // Its job was made.
		p.skipped[w.Revision] = skipped
	}
	now.Skipped = skipped
	p.note(w, now)
	return err
}
