package admission

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// reviseAll revises every candidate.
func (a *Admission) reviseAll(ctx context.Context, r Request, adm *admitted) error {
	all := adm.candidates
	var refused refusals
	for _, c := range all {
		if err := a.revise(ctx, r, c, &refused); err != nil {
			return err
		}
	}
	if err := a.checkNames(ctx, adm, &refused); err != nil {
		return err
	}
	if err := a.checkRoutes(ctx, adm, &refused); err != nil {
		return err
	}
	return refused.err()
}

// revise decides what will be stored of a candidate, and whether it makes a new revision.
func (a *Admission) revise(ctx context.Context, r Request, c *candidate, refused *refusals) error {
	var revisions []wadi.Revision
	if c.exists {
		var err error
		// An unreadable revision does not prevent the next.
		if revisions, err = a.Store.Revisions(ctx, c.service.Name); err != nil && !errors.Is(err, wadi.ErrUnreadable) {
			return fmt.Errorf("read revisions of %s: %w", c.service.Name, err)
		}
		c.revisions = revisions
	}
	kept := len(c.service.Traffic) == 0
	if kept {
		c.service.Traffic = c.stored.Service.Traffic
		if len(c.service.Traffic) == 0 {
			c.service.Traffic = []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}}
		}
	}
	c.spec = wadi.Spec{
		Service: c.service, File: c.file.Name, Source: c.file.Source, Variables: r.Variables,
		Generation: c.stored.Generation + 1, Attempt: c.stored.Attempt, Submitted: a.Now().Unix(), Order: c.stored.Order,
	}
	if kept {
		c.spec.TrafficOrder = c.stored.TrafficOrder
	}
	top := newest(revisions)
	if err := a.setImages(c, top, refused); err != nil {
		return err
	}
	if err := a.setRevision(c, top); err != nil {
		return err
	}
	if err := a.checkTraffic(ctx, c, kept, revisions, refused); err != nil {
		return err
	}
	if err := a.tryAgain(ctx, c, revisions); err != nil {
		return err
	}
	if slices.Contains(c.retried, c.spec.Order.Revision) {
		c.spec.Order = wadi.RolloutOrder{} // It was about the rollout before.
	}
	c.warnOfTraffic(kept)
	c.changed = !c.exists || c.rev != nil || len(c.retried) > 0 || !same(c.stored, c.spec) ||
		c.spec.Latest != c.stored.Latest // Another submission made it while registries were asked: storing fails.
	if !c.changed {
		c.spec = c.stored
	}
	return nil
}

// setRevision makes a new revision of a candidate, unless the newest stored one has the same
// hash.
func (a *Admission) setRevision(c *candidate, top *wadi.Revision) error {
	hash := jobspecs.RevisionHash(c.service, c.resolved)
	if top != nil && top.SpecHash == hash && top.Number >= numberOf(c.stored.Latest) {
		c.spec.Latest, c.moved = top.ID, nil
		return nil
	}
	n := nextNumber(top, c.stored.Latest)
	rev := wadi.Revision{
		ID: wadi.RevisionID(c.service.Name, n), Service: c.service.Name, Number: n,
		Created: c.spec.Submitted, SpecHash: hash, Spec: c.service, Images: c.resolved,
	}
	if c.service.Mesh == wadi.MeshOff {
		rev.Proof = wadi.Proof(rand.Text())
	}
	agent, err := a.downloading()
	if err != nil {
		return err
	}
	job, err := jobspecs.Render(rev, agent)
	if err != nil {
		return err // It names the revision.
	}
	rev.Job, rev.Assets = job, agent.Download.Checksums()
	c.rev, c.spec.Latest = &rev, rev.ID
	return c.warnOfPrefetch(rev)
}

// warnOfPrefetch warns of images that can't be fetched before the revision starts, though
// its service wants that.
func (c *candidate) warnOfPrefetch(rev wadi.Revision) error {
	if !c.service.ImagePrefetch {
		return nil
	}
	p, err := jobspecs.PrefetchJob(rev, "")
	for _, s := range p.Skipped {
		c.warnings = append(c.warnings, "image_prefetch: "+s)
	}
	return err
}

// agent is the agent's part of a job that is rendered now.
func (a *Admission) agent() jobspecs.Agent {
	agent := a.Agent
	if a.Installation != nil {
		agent.Installation = a.Installation()
	}
	return agent
}

// downloading is the same, with the programs that instances fetch.
func (a *Admission) downloading() (agent jobspecs.Agent, err error) {
	agent = a.agent()
	if a.Download != nil {
		agent.Download, err = a.Download()
	}
	return agent, err
}

// newest is the revision with the highest number; nil: there is none.
func newest(all []wadi.Revision) *wadi.Revision {
	var top *wadi.Revision
	for i := range all {
		if top == nil || all[i].Number > top.Number {
			top = &all[i]
		}
	}
	return top
}

// nextNumber never returns a number twice, even after revisions were deleted.
func nextNumber(newest *wadi.Revision, latest string) int {
	var n int
	if newest != nil {
		n = newest.Number
	}
	return max(n, numberOf(latest)) + 1
}

// numberOf is the number of a revision; 0: there is none.
func numberOf(id string) int {
	if _, n, ok := wadi.SplitRevisionID(id); ok {
		return n
	}
	return 0
}

// same reports whether b equals a in all that matters. The file's name does not: the same
// file is often applied from another folder.
func same(a, b wadi.Spec) bool {
	x, errA := json.Marshal(a.Service)
	y, errB := json.Marshal(b.Service)
	return errA == nil && errB == nil && bytes.Equal(x, y) &&
		a.Source == b.Source && maps.Equal(a.Variables, b.Variables)
}
