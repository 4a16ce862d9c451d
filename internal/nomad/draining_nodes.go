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
	nodesWait   = 45 * time.Second       // How long Nomad may leave the question unanswered: less than the client waits for any answer.
	nodesPause  = 250 * time.Millisecond // Between two answers: nodes of a big cluster change all the time.
	nodesRetry  = 5 * time.Second        // After a failure.
	nodesDenied = time.Minute            // After Nomad has said that the token may not know.
)

// Nodes knows which of Nomad's nodes are drained. It needs node:read; without it none
// is, and that an instance moves is known when Nomad has told it to.
type Nodes struct {
	Client  *Client
	Log     hclog.Logger
	Changed func() // Called after every change; may be nil.

	draining atomic.Pointer[map[string]bool]
}

// Draining are the nodes that are drained, as Nomad said last. It must not be written to.
func (n *Nodes) Draining() map[string]bool {
	if m := n.draining.Load(); m != nil {
		return *m
	}
	return nil
}

// Run asks until ctx ends. While Nomad is away what it said last stands.
func (n *Nodes) Run(ctx context.Context) error {
	reported := false // That it can't be known; said once.
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
				n.Log.Info("which nodes are drained is not known: a service with one instance may wait for its next one when that moves", "error", err)
				reported = true
			}
		}
		if sleep(ctx, pause) != nil {
			return nil
		}
	}
	return nil
}

// ask waits for nodes other than at index, and takes them in.
func (n *Nodes) ask(ctx context.Context, index uint64) (next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, nodesWait+30*time.Second)
	defer cancel()
	q := n.Client.query(ctx, n.Client.token, "")
	q.WaitIndex, q.WaitTime, q.Filter = index, nodesWait, `SchedulingEligibility == "ineligible"` // As all are that are drained; that itself can't be asked for.
	var all []*api.NodeListStub
	meta, err := n.Client.streams.Raw().Query("/v1/nodes", &all, q)
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
