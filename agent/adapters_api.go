package agent

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/nomad"
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
	return job, nomadsWords(err)
}

func (n apiNomad) PlanJob(ctx context.Context, token string, job json.RawMessage) (string, error) {
	plan, err := n.Client.PlanJob(ctx, token, job, false)
	return plan.Warnings, nomadsWords(err)
}

func (n apiNomad) RegisterAt(ctx context.Context, token string, job json.RawMessage, index uint64) (uint64, error) {
	index, err := n.Register(ctx, token, job, 0, index)
	return index, nomadsWords(err)
}

func (n apiNomad) Job(ctx context.Context, token, namespace, id string) (admission.Job, error) {
	job, err := n.Client.Job(ctx, token, namespace, id)
	if job.Stopped {
		job.Count = 0
	}
	return admission.Job{Meta: job.Meta, Count: job.Count, ModifyIndex: job.JobModifyIndex}, err
}

// nomadsWords strips what we say around Nomad's opinion of a job, so that its
// text stands alone before the user.
func nomadsWords(err error) error {
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

// catalog is Consul as admission sees it.
type catalog struct{ *consul.Client }

var _ admission.Catalog = catalog{}

// ForeignService implements [admission.Catalog]. Wadi's own services are registered by
// Nomad with a revision in their meta. One whose checks fail is somebody's, too.
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
