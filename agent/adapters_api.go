package agent

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/images"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/agent/plan"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/registry"
	"github.com/wadi-run/wadi/internal/store"
)

// The adapters know nothing of each other's types; here they are joined.

var (
	_ admission.Store = (*store.Store)(nil)
	_ server.Store    = (*store.Store)(nil)
)

// apiNomad is Nomad as admission and the API see it.
type apiNomad struct{ *nomad.Client }

var (
	_ admission.Nomad = apiNomad{}
	_ server.Rights   = apiNomad{}
)

func (n apiNomad) ParseJob(ctx context.Context, token, namespace, jobHCL, variables string) ([]byte, error) {
	job, err := n.Client.ParseJob(ctx, token, namespace, jobHCL, variables)
	return job, ownText(err)
}

func (n apiNomad) PlanJob(ctx context.Context, token string, job json.RawMessage, count int, diff bool) (admission.JobPlan, error) {
	job, err := nomad.WithCount(job, count)
	if err != nil {
		return admission.JobPlan{}, err
	}
	p, err := n.Client.PlanJob(ctx, token, job, diff)
	return admission.JobPlan{Warnings: p.Warnings, Diff: p.Diff, Placed: p.Placed, Unplaced: p.FailedPlacements, Unknown: p.Unknown}, ownText(err)
}

func (n apiNomad) MayRegister(ctx context.Context, token string, job json.RawMessage) error {
	return ownText(n.Client.MayRegister(ctx, token, job))
}

func (n apiNomad) RegisterAt(ctx context.Context, token string, job json.RawMessage, index uint64) (uint64, error) {
	index, err := n.Register(ctx, token, job, 0, index)
	return index, ownText(err)
}

func (n apiNomad) Job(ctx context.Context, token, namespace, id string) (admission.Job, error) {
	job, err := n.Client.Job(ctx, token, namespace, id)
	if job.Stopped {
		job.Count = 0
	}
	return admission.Job{Meta: job.Meta, Count: job.Count, ModifyIndex: job.JobModifyIndex}, err
}

// ownText strips what is wrapped around Nomad's complaint about a job, so that the user
// sees Nomad's text alone.
func ownText(err error) error {
	var parse *nomad.ParseError
	var invalid *nomad.InvalidError
	switch {
	case errors.As(err, &parse):
		return parse
	case errors.As(err, &invalid):
		return invalid
	}
	return err
}

// entries are Consul's config entries as admission sees them.
type entries struct{ *mesh.Layer }

var _ admission.Entries = entries{}

func (e entries) Preview(ctx context.Context, r wadi.Route) (plan.Entries, error) {
	all, foreign, err := e.Layer.Preview(ctx, r)
	out := plan.Entries{Foreign: foreign}
	for _, p := range all {
		out.All = append(out.All, plan.Entry(p))
	}
	return out, err
}

// catalog is Consul as admission sees it.
type catalog struct{ *consul.Client }

var _ admission.Catalog = catalog{}

// ForeignService implements [admission.Catalog]. Nomad registers managed services with a
// revision in their meta; all others are foreign, also those whose checks fail.
func (c catalog) ForeignService(ctx context.Context, name string) (what string, err error) {
	found, err := c.Registered(ctx, name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return "", err
	}
	for _, in := range found {
		if service, _, ok := wadi.SplitRevisionID(in.Meta["revision"]); !ok || service != name {
			return "service", nil
		}
	}
	return mesh.Foreign(ctx, c.Client, name)
}

// registries are the registries of images as admission sees them.
type registries struct{ *registry.Resolver }

var _ admission.Registries = registries{}

// Resolve implements [admission.Registries]. Credentials are the agent's: a spec has none in
// clear.
func (r registries) Resolve(ctx context.Context, image string) (digest string, err error) {
	return r.Resolver.Resolve(ctx, image, registry.Credentials{})
}

// Config implements [admission.Registries].
func (r registries) Config(ctx context.Context, image, digest string) (images.Config, error) {
	c, err := r.Resolver.Config(ctx, image, digest)
	return images.Config(c), err
}
