package nomad

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

const (
	nodesWait   = 45 * time.Second       // Nomad's bound of a blocking query: less than the client waits for any answer.
	nodesPause  = 250 * time.Millisecond // Between two queries: nodes of a big cluster change all the time.
	nodesRetry  = 5 * time.Second        // After a failure.
	nodesDenied = time.Minute            // After Nomad has refused the token.
)

// Nodes watches which of Nomad's nodes are drained. It needs node:read. Without it no node
// counts as drained, and a move of an instance shows only when Nomad has requested it.
type Nodes struct {
	Client  *Client
	Log     hclog.Logger
	Changed func() // Called after every change; may be nil.

	draining atomic.Pointer[map[string]bool]
}

// Draining is the set of drained nodes, as Nomad last reported it. It must not be written
// to.
func (n *Nodes) Draining() map[string]bool {
	if m := n.draining.Load(); m != nil {
		return *m
	}
	return nil
}

// Run watches until ctx ends. While Nomad is unavailable the last set stays.
func (n *Nodes) Run(ctx context.Context) error {
	reported := false // The failure was logged.
	for index := uint64(0); ctx.Err() == nil; {
		next, err := n.ask(ctx, index)
		pause := nodesPause
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			index, reported = next, false
		default:
			index, pause = 0, nodesRetry
			if errors.Is(err, wadi.ErrForbidden) {
				pause = nodesDenied
			}
			if !reported {
				n.Log.Info("drained nodes are unknown: requests to a service with one instance may wait while the instance moves", "error", err)
				reported = true
			}
		}
		if wadi.Sleep(ctx, pause) != nil {
			return nil
		}
	}
	return nil
}

// ask waits for a list of nodes newer than index, and stores it.
func (n *Nodes) ask(ctx context.Context, index uint64) (next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, nodesWait+30*time.Second)
	defer cancel()
	q := n.Client.query(ctx, n.Client.Token(), "")
	q.WaitIndex, q.WaitTime, q.Filter = index, nodesWait, `SchedulingEligibility == "ineligible"` // All drained nodes are ineligible; Nomad can't filter by drain itself.
	var all []*api.NodeListStub
	meta, err := n.Client.streams().Raw().Query("/v1/nodes", &all, q)
	if err != nil {
		return 0, translate(err)
	}
	draining := make(map[string]bool, len(all))
	for _, node := range all {
		if node.Drain {
			draining[node.ID] = true
		}
	}
	n.setDraining(draining)
	if meta.LastIndex < index { // Nomad was restored.
		return 0, nil
	}
	return meta.LastIndex, nil
}

func (n *Nodes) setDraining(draining map[string]bool) {
	before := n.Draining()
	n.draining.Store(&draining)
	if !maps.Equal(before, draining) && n.Changed != nil {
		n.Changed()
	}
}
