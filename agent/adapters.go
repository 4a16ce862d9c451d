package agent

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
)

// The adapters know nothing of each other's types; here they are joined.

// apiStore is the store as admission and the API see it.
type apiStore struct{ *store.Store }

var (
	_ admission.Store = apiStore{}
	_ server.Store    = apiStore{}
)

func (s apiStore) Spec(ctx context.Context, name string) (admission.Spec, uint64, error) {
	spec, index, err := s.Store.Spec(ctx, name)
	return admission.Spec(spec), index, err
}

func (s apiStore) Fits(ctx context.Context, all []admission.Submission) error {
	return s.Store.Fits(ctx, submissionsOf(all))
}

func submissionsOf(all []admission.Submission) []store.Submission {
	out := make([]store.Submission, 0, len(all))
	for _, sub := range all {
		out = append(out, store.Submission{Spec: store.Spec(sub.Spec), Index: sub.Index, NewRevision: sub.NewRevision})
	}
	return out
}

func (s apiStore) Submit(ctx context.Context, all []admission.Submission) (map[string]uint64, error) {
	indexes, err := s.Store.Submit(ctx, submissionsOf(all))
	var taken *store.DomainError
	if errors.As(err, &taken) {
		return nil, &admission.DomainTaken{Domain: taken.Domain, Service: taken.Service, Holder: taken.Holder}
	}
	var named *store.NameError
	if errors.As(err, &named) {
		return nil, &admission.NameTaken{Name: named.Name, Service: named.Service, Holder: named.Holder}
	}
	return indexes, err
}

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
