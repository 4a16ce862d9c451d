package admission

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/images"
	"github.com/wadi-run/wadi/jobspecs"
)

// Bounds of the questions about one submission's images.
const (
	maxReferences  = 100              // Different ones, and tasks with images of one service.
	maxQuestions   = 16               // At once.
	resolveTimeout = 30 * time.Second // Of all; one question has images.timeout, which is shorter.
)

var (
	errNotAllowed = errors.New("its registry was not asked, as this cluster does not allow the image (admission_tasks.images)")
	errTooSlow    = fmt.Errorf("its registry did not answer within %s; apply again, or write the digest", resolveTimeout)
)

// resolve asks the registries about the images of all candidates, each image once. Other
// submissions are evaluated meanwhile: a registry may be slow. The rest of the work uses the
// context that it returns.
func (a *Admission) resolve(ctx context.Context, r Request, adm *admitted) (context.Context, error) {
	ask := map[string]bool{}
	for _, c := range adm.candidates {
		if err := a.findImages(c); err != nil {
			return ctx, err
		}
		for _, t := range c.images {
			if t.Ask != "" && c.service.ResolveImages != wadi.ResolveOff {
				ask[t.Ask] = true
			}
		}
	}
	switch {
	case len(ask) == 0 || a.Registries == nil:
		return ctx, nil
	case len(ask) > maxReferences:
		return ctx, tooLarge("the services have %d different images, at most %d are resolved at once; submit them in parts, or write digests", len(ask), maxReferences)
	}
	evaluated := adm.known && r.Evaluate != nil && r.Pause != nil
	if evaluated {
		r.Pause()
	}
	answers, err := a.askAll(ctx, ask)
	if err != nil {
		return ctx, err
	}
	for _, c := range adm.candidates {
		c.answers = answers
	}
	if !evaluated {
		return ctx, nil
	}
	return r.Evaluate()
}

// findImages finds the images of a candidate's tasks, those of the agent's included.
func (a *Admission) findImages(c *candidate) error {
	found, err := jobspecs.Images(c.service)
	if err != nil {
		return err
	}
	own, err := a.agent().Images(c.service)
	if err != nil {
		return err
	}
	if len(found) > maxReferences {
		return tooLarge("service %s has %d tasks with images, at most %d may have one", c.service.Name, len(found), maxReferences)
	}
	for _, i := range append(found, own...) {
		c.images = append(c.images, images.Classify(i))
	}
	return nil
}

// askAll asks about each image. Only an end of ctx is an error.
func (a *Admission) askAll(ctx context.Context, ask map[string]bool) (map[string]images.Answer, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, resolveTimeout, errTooSlow)
	defer cancel()
	var mu sync.Mutex
	answers := map[string]images.Answer{}
	var group errgroup.Group
	group.SetLimit(maxQuestions)
	for name := range ask {
		group.Go(func() error {
			answer := images.Answer{Err: errNotAllowed}
			if a.Rules.MayAllow(name) {
				answer.Digest, answer.Err = a.Registries.Resolve(bounded, name)
				if answer.Err != nil && bounded.Err() != nil {
					answer.Err = context.Cause(bounded)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			answers[name] = answer
			return nil
		})
	}
	_ = group.Wait() // Each failure is an answer.
	return answers, context.Cause(ctx)
}

// setImages decides which images the candidate's revision has, beside the newest stored one,
// and complains about those without a digest.
func (a *Admission) setImages(c *candidate, top *wadi.Revision, refused *refusals) error {
	if a.Registries == nil {
		return nil
	}
	mode := c.service.ResolveImages
	before, err := imagesOf(top)
	if err != nil {
		return err
	}
	if mode == wadi.ResolveRequire {
		c.resolved = images.Decide(mode, c.images, c.answers, nil) // What a registry said earlier does not count.
	} else {
		c.resolved = images.Decide(mode, c.images, c.answers, before)
	}
	c.moved = images.Moved(before, images.Users(c.images, c.resolved))
	for _, i := range images.Users(c.images, c.resolved) {
		switch {
		case i.Warning == "":
		case mode == wadi.ResolveRequire:
			refused.invalid(c, "instance.task."+i.Task+".config.image", "%.200q has no digest, which resolve_images = \"require\" asks for: %s", i.Name, i.Warning)
		case i.Resolved():
			c.warnings = append(c.warnings, fmt.Sprintf("image of task %s: %s", i.Task, i.Warning))
		default:
			c.warnings = append(c.warnings, fmt.Sprintf("image of task %s: %s; %.200q is submitted as it is, and may be another image at each start", i.Task, i.Warning, i.Name))
		}
	}
	return nil
}

// imagesOf are the images of a revision. One of an earlier Wadi has tags only.
func imagesOf(r *wadi.Revision) ([]wadi.Image, error) {
	if r == nil || len(r.Images) > 0 {
		if r == nil {
			return nil, nil
		}
		return r.Images, nil
	}
	found, err := jobspecs.Images(r.Spec)
	if err != nil {
		return nil, fmt.Errorf("images of %s: %w", r.ID, err)
	}
	var tasks []images.Task
	for _, i := range found {
		tasks = append(tasks, images.Task{TaskImage: i})
	}
	return images.Decide(wadi.ResolveOff, tasks, nil, nil), nil
}
