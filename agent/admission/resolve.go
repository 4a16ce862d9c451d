package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	for _, c := range adm.candidates {
		if err := a.findImages(c); err != nil {
			return ctx, err
		}
	}
	users, own := questions(adm.candidates, false), questions(adm.candidates, true)
	switch {
	case len(users)+len(own) == 0 || a.Registries == nil:
		return ctx, nil
	case len(users) > maxReferences:
		return ctx, tooLarge("the services have %d different images, at most %d are resolved at once; submit them in parts, or write digests", len(users), maxReferences)
	}
	evaluated := adm.known && r.Evaluate != nil && r.Pause != nil
	if evaluated {
		r.Pause()
	}
	if err := a.ask(ctx, adm.candidates, users); err != nil || !evaluated {
		return ctx, err
	}
	return r.Evaluate()
}

// questions are the images of the users' tasks, or of the agent's own, that registries can
// be asked about.
func questions(all []*candidate, own bool) map[string]bool {
	ask := map[string]bool{}
	for _, c := range all {
		for _, t := range c.images {
			if t.Ask != "" && t.Own == own && c.service.ResolveImages != wadi.ResolveOff {
				ask[t.Ask] = true
			}
		}
	}
	return ask
}

// ask asks about the users' images, and then about the agent's own, and what serves, for the
// candidates that make a new revision. Only an end of ctx is an error, or one of the store.
func (a *Admission) ask(ctx context.Context, all []*candidate, users map[string]bool) error {
	bounded, cancel := context.WithTimeoutCause(ctx, resolveTimeout, errTooSlow)
	defer cancel()
	answers := a.askAll(bounded, users, a.Rules.MayAllow)
	var news []*candidate
	for _, c := range all {
		c.answers = answers
		isNew, err := a.makesRevision(ctx, c)
		if err != nil {
			return err
		}
		if isNew {
			news = append(news, c)
		}
	}
	maps.Copy(answers, a.askAll(bounded, questions(news, true), func(string) bool { return true })) // No rule concerns them.
	a.readConfigs(bounded, news)
	return context.Cause(ctx)
}

// makesRevision reports whether a candidate will make a revision, unless the newest one changes
// meanwhile.
func (a *Admission) makesRevision(ctx context.Context, c *candidate) (bool, error) {
	if !c.exists {
		return true, nil
	}
	revisions, err := a.Store.Revisions(ctx, c.service.Name)
	if err != nil && !errors.Is(err, wadi.ErrUnreadable) {
		return false, fmt.Errorf("read revisions of %s: %w", c.service.Name, err)
	}
	top := newest(revisions)
	before, err := imagesOf(top)
	if top == nil || err != nil {
		return true, err
	}
	return jobspecs.RevisionHash(c.service, images.Decide(c.service.ResolveImages, c.images, c.answers, before)) != top.SpecHash, nil
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

// askAll asks about each image that is allowed. What goes wrong is an answer.
func (a *Admission) askAll(ctx context.Context, ask map[string]bool, allowed func(name string) bool) map[string]images.Answer {
	var mu sync.Mutex
	answers := map[string]images.Answer{}
	var group errgroup.Group
	group.SetLimit(maxQuestions)
	for name := range ask {
		group.Go(func() error {
			answer := images.Answer{Err: errNotAllowed}
			if allowed(name) {
				answer.Digest, answer.Err = a.Registries.Resolve(ctx, name)
				if answer.Err != nil && ctx.Err() != nil {
					answer.Err = context.Cause(ctx)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			answers[name] = answer
			return nil
		})
	}
	_ = group.Wait() // It has no errors.
	return answers
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
	if c.health != "" {
		c.warnings = append(c.warnings, c.health)
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
	switch {
	case r == nil:
		return nil, nil
	case len(r.Images) > 0:
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
