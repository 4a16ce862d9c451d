package nomad

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// MetaPrefetch is the key in a job's meta that names the revision whose images it fetches.
const MetaPrefetch = "wadi_prefetch"

// PrefetchJob is a job that fetches the images of a revision.
type PrefetchJob struct {
	Namespace, ID     string
	Service, Revision string
	Index             uint64 // JobModifyIndex.
	Stopped           bool
}

// Prefetched is how far such a job is.
type Prefetched struct {
	Placed bool // It is placed on all nodes that could run it.
	NoRoom int  // Nodes that have no capacity for it.
	Allocs []PrefetchAlloc
}

// PrefetchAlloc is what one node does of it.
type PrefetchAlloc struct {
	Node            string // Its name.
	Created         int64  // Unix nanoseconds.
	Status, Desired string // Nomad's words for what it does and what it is to do.
	Tasks           []PrefetchTask
}

// PrefetchTask is how far the image of one task is.
type PrefetchTask struct {
	Name    string
	Started bool   // Its container was started.
	Failure string // Nomad's last message of a failure since then.
}

// PrefetchJobs lists the jobs that an installation of Wadi has registered to fetch images,
// stopped ones too, in all namespaces that the agent's own token may list. Copies under
// other IDs are left out.
func (c *Client) PrefetchJobs(ctx context.Context, installation string) ([]PrefetchJob, error) {
	if installation == "" {
		return nil, nil
	}
	q := c.query(ctx, c.Token(), everywhere)
	q.Filter = fmt.Sprintf("Meta.%s == %q and %q in Meta", MetaInstallation, installation, MetaPrefetch)
	var all []job
	if _, err := c.api().Raw().Query("/v1/jobs?"+url.Values{"meta": {"true"}}.Encode(), &all, q); err != nil {
		return nil, fmt.Errorf("list the jobs that fetch images: %w", translate(err))
	}
	var out []PrefetchJob
	for _, j := range all {
		if revision := j.Meta[MetaPrefetch]; fetches(j) && j.Meta[MetaInstallation] == installation {
			out = append(out, PrefetchJob{
				Namespace: orDefault(j.Namespace), ID: j.ID, Service: j.Meta[MetaService], Revision: revision,
				Index: j.JobModifyIndex, Stopped: j.Stop,
			})
		}
	}
	return out, nil
}

// fetches reports whether a job is one that fetches images, and no copy of one.
func fetches(j job) bool {
	service, _, ok := wadi.SplitRevisionID(j.Meta[MetaPrefetch])
	return ok && j.ID == wadi.PrefetchID(j.Meta[MetaPrefetch]) && j.Meta[MetaService] == service
}

// RegisterPrefetch registers a job that fetches images. It is [wadi.ErrConflict] if there is
// one of its ID.
func (c *Client) RegisterPrefetch(ctx context.Context, job json.RawMessage) error {
	_, err := c.RegisterAt(ctx, c.Token(), job, 0)
	return err
}

// Prefetched reads how far a job that fetches images is.
func (c *Client) Prefetched(ctx context.Context, namespace, id string) (Prefetched, error) {
	var out Prefetched
	var evals []struct {
		Status            string
		CreateIndex       uint64
		QueuedAllocations map[string]int
	}
	of := "/v1/job/" + url.PathEscape(id)
	// Evaluations first: what they have placed is in the later list.
	if _, err := c.api().Raw().Query(of+"/evaluations", &evals, c.query(ctx, c.Token(), namespace)); err != nil {
		return out, fmt.Errorf("read evaluations of %s: %w", id, translate(err))
	}
	out.Placed = len(evals) > 0
	newest := uint64(0)
	for _, e := range evals {
		switch e.Status {
		case api.EvalStatusBlocked, api.EvalStatusFailed, api.EvalStatusCancelled:
		case api.EvalStatusComplete:
			if e.CreateIndex >= newest {
				newest, out.NoRoom = e.CreateIndex, e.QueuedAllocations[wadi.GroupPrefetch]
			}
		default:
			out.Placed = false
		}
	}
	var allocs []struct {
		NodeID, NodeName, ClientStatus, DesiredStatus string
		CreateTime                                    int64
		TaskStates                                    map[string]*api.TaskState
	}
	if _, err := c.api().Raw().Query(of+"/allocations", &allocs, c.query(ctx, c.Token(), namespace)); err != nil {
		return out, fmt.Errorf("read allocations of %s: %w", id, translate(err))
	}
	for _, a := range allocs {
		next := PrefetchAlloc{Node: cmp.Or(a.NodeName, a.NodeID), Created: a.CreateTime, Status: a.ClientStatus, Desired: a.DesiredStatus}
		for _, name := range slices.Sorted(maps.Keys(a.TaskStates)) {
			next.Tasks = append(next.Tasks, prefetchTask(name, a.TaskStates[name]))
		}
		out.Allocs = append(out.Allocs, next)
	}
	return out, nil
}

// prefetchTask is how far the image of a task is, by its events.
func prefetchTask(name string, s *api.TaskState) PrefetchTask {
	t := PrefetchTask{Name: name}
	if s == nil {
		return t
	}
	for _, e := range s.Events {
		switch {
		case e.Type == api.TaskStarted:
			t.Started, t.Failure = true, ""
		case e.Type == api.TaskDriverFailure, isFailure(e.Type), failsTask(e) && e.Type == api.TaskKilling:
			t.Failure = message(e)
		}
	}
	return t
}
