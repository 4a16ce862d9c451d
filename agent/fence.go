package agent

import (
	"context"
	"encoding/json"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/internal/consul"
)

// An agent that was paused, or that Consul's servers took for dead, goes on as if it
// led until it hears that another does. What it stores is fenced in Consul's
// transactions. Nomad's jobs and Consul's config entries can't be: before those are
// changed the lock is looked at, and each change is guarded by what was seen.

// leadership is what is asked of a term; see [consul.Term].
type leadership interface {
	Certain() error
	Confirm(ctx context.Context) error
}

var _ leadership = (*consul.Term)(nil)

// leaderJobs is what the leader's loops ask of Nomad.
type leaderJobs interface {
	control.JobKeeper
	control.DriftPlanner
	control.CountSetter
}

// leaderNomad is Nomad as the leader alone changes it.
type leaderNomad struct {
	leaderJobs
	term leadership
}

// Scale asks nobody first: it is guarded, frequent, and must not wait for Consul.
func (n leaderNomad) Scale(ctx context.Context, namespace, id string, count int, index uint64, message string) (uint64, error) {
	if err := n.term.Certain(); err != nil {
		return 0, err
	}
	return n.leaderJobs.Scale(ctx, namespace, id, count, index, message)
}

func (n leaderNomad) Register(ctx context.Context, job json.RawMessage, count int, index uint64) (uint64, error) {
	if err := n.term.Confirm(ctx); err != nil {
		return 0, err
	}
	return n.leaderJobs.Register(ctx, job, count, index)
}

func (n leaderNomad) Stop(ctx context.Context, namespace, id string) error {
	if err := n.term.Confirm(ctx); err != nil {
		return err
	}
	return n.leaderJobs.Stop(ctx, namespace, id)
}

func (n leaderNomad) Purge(ctx context.Context, namespace, id string) error {
	if err := n.term.Confirm(ctx); err != nil {
		return err
	}
	return n.leaderJobs.Purge(ctx, namespace, id)
}

// leaderOrders is how the leader alone tells instances to go. Like Scale it asks nobody
// first; that they stay anybody may say.
type leaderOrders struct {
	control.Orders
	term leadership
}

func (o leaderOrders) SendOrder(ctx context.Context, ep wadi.Endpoint, order wadi.Order) (wadi.OrderAnswer, error) {
	if err := o.term.Certain(); err != nil && order != wadi.OrderStay {
		return wadi.OrderAnswer{}, err
	}
	return o.Orders.SendOrder(ctx, ep, order)
}

// configEntries is [mesh.Entries], by a name that none of its methods has.
type configEntries interface{ mesh.Entries }

// leaderEntries are Consul's config entries as the leader alone changes them.
type leaderEntries struct {
	configEntries
	term leadership
}

func (e leaderEntries) SetEntry(ctx context.Context, entry api.ConfigEntry, index uint64) error {
	if err := e.term.Confirm(ctx); err != nil {
		return err
	}
	return e.configEntries.SetEntry(ctx, entry, index)
}

func (e leaderEntries) DeleteEntry(ctx context.Context, kind, name string, index uint64) error {
	if err := e.term.Confirm(ctx); err != nil {
		return err
	}
	return e.configEntries.DeleteEntry(ctx, kind, name, index)
}
