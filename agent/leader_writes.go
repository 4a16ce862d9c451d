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

// An agent that was paused, or that Consul's servers took for dead, goes on as if it led
// until it hears that another agent does. What it stores is fenced in Consul's transactions.
// Writes to Nomad's jobs and Consul's config entries can't be fenced: each is preceded by a
// read of the lock, and guarded by the index that was read.

// leadershipProof is the part of [consul.Term] that a write needs.
type leadershipProof interface {
	// Certain returns an error once the lock may have been lost, without a call.
	Certain() error
	// Confirm reads the lock, and returns an error unless this agent holds it.
	Confirm(ctx context.Context) error
}

var _ leadershipProof = (*consul.Term)(nil)

// leaderJobs is what the leader's loops ask of Nomad.
type leaderJobs interface {
	control.JobKeeper
	control.DriftPlanner
	control.CountSetter
}

// leaderNomad is Nomad with the writes that only a leader makes.
type leaderNomad struct {
	leaderJobs
	lease leadershipProof
	seen  control.Cluster // Nil: nothing is known of jobs.
}

// Scale reads the lock first where instances may end by it: to start some must not wait for
// Consul, and harms nothing. A clock that stood still with its machine does not tell that
// another agent leads by now, and before Nomad 2.0.1 the index alone stops nobody.
func (n leaderNomad) Scale(ctx context.Context, namespace, id string, count int, index uint64, message string) (uint64, error) {
	var err error
	if n.raises(namespace, id, count, index) {
		err = n.lease.Certain()
	} else {
		err = n.lease.Confirm(ctx)
	}
	if err != nil {
		return 0, err
	}
	return n.leaderJobs.Scale(ctx, namespace, id, count, index, message)
}

// raises reports whether the job of that very index surely has a lower count.
func (n leaderNomad) raises(namespace, id string, count int, index uint64) bool {
	if n.seen == nil {
		return false
	}
	job := n.seen.Job(namespace, id)
	return job.Running() && job.Index == index && job.Count < count
}

// Note does not read the lock first: it changes nothing.
func (n leaderNomad) Note(ctx context.Context, namespace, id, message string) error {
	if err := n.lease.Certain(); err != nil {
		return err
	}
	return n.leaderJobs.Note(ctx, namespace, id, message)
}

func (n leaderNomad) Register(ctx context.Context, job json.RawMessage, count int, index uint64) (uint64, error) {
	if err := n.lease.Confirm(ctx); err != nil {
		return 0, err
	}
	return n.leaderJobs.Register(ctx, job, count, index)
}

func (n leaderNomad) Stop(ctx context.Context, namespace, id string) error {
	if err := n.lease.Confirm(ctx); err != nil {
		return err
	}
	return n.leaderJobs.Stop(ctx, namespace, id)
}

func (n leaderNomad) Purge(ctx context.Context, namespace, id string) error {
	if err := n.lease.Confirm(ctx); err != nil {
		return err
	}
	return n.leaderJobs.Purge(ctx, namespace, id)
}

// leaderOrders sends the orders to leave that only a leader gives. Like Scale it does not
// read the lock first. The order to stay may come from any agent.
type leaderOrders struct {
	control.Orders
	lease leadershipProof
}

func (o leaderOrders) SendOrder(ctx context.Context, ep wadi.Endpoint, order wadi.Order) (wadi.OrderAnswer, error) {
	if err := o.lease.Certain(); err != nil && order != wadi.OrderStay {
		return wadi.OrderAnswer{}, err
	}
	return o.Orders.SendOrder(ctx, ep, order)
}

// configEntries is [mesh.Entries], under a name that can be embedded: Entries is a method.
type configEntries interface{ mesh.Entries }

// leaderEntries are Consul's config entries with the writes that only a leader makes.
type leaderEntries struct {
	configEntries
	lease leadershipProof
}

func (e leaderEntries) SetEntry(ctx context.Context, entry api.ConfigEntry, index uint64) error {
	if err := e.lease.Confirm(ctx); err != nil {
		return err
	}
	return e.configEntries.SetEntry(ctx, entry, index)
}

func (e leaderEntries) DeleteEntry(ctx context.Context, kind, name string, index uint64) error {
	if err := e.lease.Confirm(ctx); err != nil {
		return err
	}
	return e.configEntries.DeleteEntry(ctx, kind, name, index)
}
