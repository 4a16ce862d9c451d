package admission

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
)

// check holds each service against what is stored. Rights come first: who may
// not submit there learns nothing else.
func (a *Admission) check(ctx context.Context, r Request, adm *admitted) error {
	all := adm.candidates
	for _, c := range all {
		if err := a.permit(ctx, r.NomadToken, c.service.Namespace, adm.permitted); err != nil {
			return err
		}
	}
	var refused refusals
	for _, c := range all {
		if err := a.checkOne(ctx, r, c, &refused); err != nil {
			return err
		}
	}
	// Who meets somebody else's service there learns no more of it.
	own := slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool {
		return c.exists && c.stored.Service.Namespace != c.service.Namespace
	})
	if err := a.checkIntentions(ctx, r, own); err != nil {
		return err
	}
	if err := a.checkDomains(ctx, adm, &refused); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.CheckIndex)) {
		if !slices.ContainsFunc(all, func(c *candidate) bool { return c.service.Name == name }) {
			return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("check_index names %q, which is not in what was submitted", name)}
		}
	}
	return refused.err()
}

// permit asks Nomad, once, whether the caller may submit to a namespace.
func (a *Admission) permit(ctx context.Context, token, namespace string, permitted map[string]bool) error {
	if permitted[namespace] {
		return nil
	}
	if err := a.Nomad.MaySubmit(ctx, token, namespace); err != nil {
		return fmt.Errorf("submit to namespace %q: %w", namespace, err)
	}
	permitted[namespace] = true
	return nil
}

func (a *Admission) checkOne(ctx context.Context, r Request, c *candidate, refused *refusals) error {
	name := c.service.Name
	stored, index, err := a.Store.Spec(ctx, name)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read service %s: %w", name, err)
	default:
		c.exists, c.stored, c.index = true, stored, index
	}
	if c.exists && stored.Service.Namespace != c.service.Namespace {
		// All else of it is not for who may not know that namespace, which is not named either.
		refused.invalid(c, "namespace", "a service of that name is in another Nomad namespace, and the namespace can't change")
		return nil
	}
	if want, ok := r.CheckIndex[name]; ok && want != c.index {
		refused.clash(c, "", "check_index is %d, but the stored index is %d (0: not stored); read it again", want, c.index)
	}
	if !c.exists {
		foreign, err := a.Catalog.ForeignService(ctx, name)
		if err != nil {
			return fmt.Errorf("look for %s in Consul: %w", name, err)
		}
		if foreign != "" {
			refused.invalid(c, "", "Consul has a %s %q that isn't Wadi's; choose another name, or delete that", foreign, name)
		}
		return nil
	}
	if stored.Deleting {
		refused.clash(c, "", "the service is being deleted; wait until it is gone")
	}
	if was := stored.Service.Protocol; was != c.service.Protocol {
		refused.invalid(c, "protocol", "the protocol can't change: it is %q; delete the service first, or choose another name", was)
	}
	return nil
}

// reviseAll decides for every service.
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
	return refused.err()
}

// revise decides what will be stored, and whether that makes a new revision.
func (a *Admission) revise(ctx context.Context, r Request, c *candidate, refused *refusals) error {
	var revisions []wadi.Revision
	if c.exists {
		var err error
		// One that can't be read keeps nobody from making the next.
		if revisions, err = a.Store.Revisions(ctx, c.service.Name); err != nil && !errors.Is(err, wadi.ErrUnreadable) {
			return fmt.Errorf("read revisions of %s: %w", c.service.Name, err)
		}
	}
	kept := len(c.service.Traffic) == 0
	if kept {
		c.service.Traffic = c.stored.Service.Traffic
		if len(c.service.Traffic) == 0 {
			c.service.Traffic = []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}}
		}
	}
	now := a.Now().Unix()
	c.spec = wadi.Spec{
		Service: c.service, File: c.file.Name, Source: c.file.Source, Variables: r.Variables,
		Generation: c.stored.Generation + 1, Submitted: now,
	}
	top := newest(revisions)
	if hash := jobspecs.Hash(c.service); top != nil && top.SpecHash == hash && top.Number >= numberOf(c.stored.Latest) {
		c.spec.Latest = top.ID
	} else {
		n := nextNumber(top, c.stored.Latest)
		rev := wadi.Revision{
			ID: wadi.RevisionID(c.service.Name, n), Service: c.service.Name, Number: n,
			Created: now, SpecHash: hash, Spec: c.service,
		}
		if c.service.Mesh == wadi.MeshOff {
			rev.Proof = wadi.Proof(rand.Text())
		}
		of := a.Agent
		if a.Installation != nil {
			of.Installation = a.Installation()
		}
		job, err := jobspecs.Render(rev, of)
		if err != nil {
			return err // It names the revision.
		}
		rev.Job = job
		c.rev, c.spec.Latest = &rev, rev.ID
	}
	c.spec.Attempt = c.stored.Attempt
	if err := a.checkTraffic(ctx, c, kept, revisions, refused); err != nil {
		return err
	}
	if err := a.tryAgain(ctx, c, revisions); err != nil {
		return err
	}
	c.changed = !c.exists || c.rev != nil || len(c.retried) > 0 || !same(c.stored, c.spec)
	if !c.changed {
		c.spec = c.stored
	}
	return nil
}

func newest(all []wadi.Revision) *wadi.Revision {
	var top *wadi.Revision
	for i := range all {
		if top == nil || all[i].Number > top.Number {
			top = &all[i]
		}
	}
	return top
}

// nextNumber never gives a number twice, even when revisions have been forgotten.
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

// same reports whether storing b over a would change nothing that matters. The
// file's name does not: the same file is often applied from elsewhere.
func same(a, b wadi.Spec) bool {
	x, errA := json.Marshal(a.Service)
	y, errB := json.Marshal(b.Service)
	return errA == nil && errB == nil && bytes.Equal(x, y) &&
		a.Source == b.Source && maps.Equal(a.Variables, b.Variables)
}
