package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/authz"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/outcomes"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/scheduler"
)

// What marks Wadi's own entries in a job's scaling history.
const (
	scaledBy   = "by"
	wadiItself = "wadi"
)

// controlNomad is Nomad as package control sees it, with the agent's own token.
type controlNomad struct{ *nomad.Client }

var (
	_ leaderJobs         = controlNomad{}
	_ control.JobStarter = controlNomad{}
	_ control.JobPurger  = controlNomad{}
	_ control.JobStopper = controlNomad{}
)

func (n controlNomad) Job(ctx context.Context, namespace, id string) (scheduler.JobState, error) {
	job, err := n.Client.Job(ctx, n.Token(), namespace, id)
	if errors.Is(err, wadi.ErrNotFound) {
		return scheduler.JobState{}, nil
	}
	return scheduler.JobState{Exists: true, Stopped: job.Stopped, Count: job.Count, Index: job.JobModifyIndex}, err
}

func (n controlNomad) Scale(ctx context.Context, namespace, id string, count int, index uint64, message string) (uint64, error) {
	index, _, err := n.Client.Scale(ctx, namespace, id, count, index, message, map[string]any{scaledBy: wadiItself})
	return index, err
}

func (n controlNomad) Note(ctx context.Context, namespace, id, message string) error {
	return n.Client.Note(ctx, namespace, id, message, map[string]any{scaledBy: wadiItself})
}

func (n controlNomad) Register(ctx context.Context, job json.RawMessage, count int, index uint64) (uint64, error) {
	return n.Client.Register(ctx, n.Token(), job, count, index)
}

func (n controlNomad) Drifted(ctx context.Context, job json.RawMessage, count int) (drifted bool, index uint64, err error) {
	job, err = nomad.WithCount(job, count)
	if err != nil {
		return false, 0, err
	}
	plan, err := n.PlanJob(ctx, n.Token(), job, true)
	return plan.Changed || plan.Unknown, plan.JobModifyIndex, err
}

func (n controlNomad) Edited(ctx context.Context, namespace, id string, index uint64) (bool, error) {
	return n.Client.Edited(ctx, n.Token(), namespace, id, index)
}

func (n controlNomad) Evaluate(ctx context.Context, namespace, id string) error {
	return n.Client.Evaluate(ctx, namespace, id, true)
}

func (n controlNomad) ScaledByHand(ctx context.Context, namespace, id string, count int) (time.Time, bool, error) {
	last, err := n.LastScaling(ctx, namespace, id)
	if err != nil || last.Time.IsZero() {
		return time.Time{}, false, err
	}
	if last.Count != count {
		return time.Time{}, false, fmt.Errorf("read what scaled %s to %d: its scaling history ends with %d", id, count, last.Count)
	}
	return last.Time, last.Meta[scaledBy] != wadiItself, nil
}

func (n controlNomad) Stop(ctx context.Context, namespace, id string) error {
	return n.Client.Stop(ctx, n.Token(), namespace, id)
}

func (n controlNomad) Purge(ctx context.Context, namespace, id string) error {
	return n.Client.Purge(ctx, n.Token(), namespace, id)
}

// termOutcomes are what revisions answered in a term, as package control sees it.
// Instances of an older Wadi have answered nothing that is known: a revision of theirs is none to
// compare with, as one without requests. Else the first rollout after an upgrade would wait for
// ever.
type termOutcomes struct{ *outcomes.Keeper }

func (k termOutcomes) Outcomes(revision string, since time.Time) (wadi.Outcomes, string) {
	now := time.Now()
	if kept := now.Add(-outcomes.Kept); since.Before(kept) { // A step may wait for days for enough requests.
		since = kept
	}
	r := k.Read(revision, since, now)
	return r.Outcomes, r.Unknown
}

var _ control.OutcomeReader = termOutcomes{}

// controlCluster is Nomad's event stream as package control sees it.
type controlCluster struct{ *nomad.Watcher }

var (
	_ control.UsableCluster = controlCluster{}
	_ control.SyncedCluster = controlCluster{}
	_ control.ServiceNews   = controlCluster{}
	_ control.ExitReader    = controlCluster{}
)

func (c controlCluster) Synced(namespace string) bool { return c.Connected(namespace) }

func (c controlCluster) Job(namespace, revision string) scheduler.JobState {
	j, ok := c.Watcher.Job(namespace, revision)
	if !ok {
		return scheduler.JobState{}
	}
	return scheduler.JobState{Exists: true, Stopped: j.Stopped, Count: j.Count, Index: j.JobModifyIndex}
}

var _ control.Callers = (*authz.Guard)(nil)

var (
	_ control.ServiceReader  = (*store.Writer)(nil)
	_ control.StateWriter    = (*store.Writer)(nil)
	_ control.ServiceRemover = (*store.Writer)(nil)
	_ control.RevisionReader = (*store.Store)(nil)
)
