package nomad

import (
	"context"
	"fmt"
	"time"
)

// readSnapshot reads everything in the namespaces of a subscription.
//
// The jobs are read last. The stream reports instances and evaluations that are newer than
// their lists, and these are applied because the list of jobs is newer still. If the list
// of jobs were the older one, an instance of a job that was registered in between would be
// in the list of instances without its job, and the stream would not report it again.
func (c *Client) readSnapshot(ctx context.Context, namespace string, covers map[string]bool) (f snapshot, err error) {
	if f.allocs, f.marks.allocs, err = c.allocations(ctx, namespace); err != nil {
		return snapshot{}, fmt.Errorf("list allocations: %w", translate(err))
	}
	q := c.query(ctx, c.Token(), namespace)
	q.Filter = `Status == "blocked"`
	qm, err := c.api().Raw().Query("/v1/evaluations", &f.evals, q)
	if err != nil {
		return snapshot{}, fmt.Errorf("list evaluations: %w", translate(err))
	}
	f.marks.evals = qm.LastIndex
	keep := func(ns, id string, _ map[string]string) bool {
		return covers[orDefault(ns)] && isRevisionJob(id)
	}
	f.jobs, f.marks.jobs, err = c.Jobs(ctx, c.Token(), namespace, keep)
	return f, err
}

// allocationsPage bounds what is read at once: an allocation takes some 5 KB.
const allocationsPage = 1000

// allocations lists the allocations in a namespace that have not completed, and the index from
// which on the stream reports changes that the list may lack: that of the first page. The
// stream is open by then.
func (c *Client) allocations(ctx context.Context, namespace string) (all []allocation, index uint64, err error) {
	size, next := int32(allocationsPage), ""
	for {
		q := c.query(ctx, c.Token(), namespace)
		q.Filter, q.PerPage, q.NextToken = `ClientStatus != "complete"`, size, next
		var page []allocation
		meta, err := c.api().Raw().Query("/v1/allocations?resources=true", &page, q)
		if err != nil {
			return nil, 0, err
		}
		if index == 0 {
			index = meta.LastIndex
		}
		next = meta.NextToken
		switch {
		case next != "":
			all = append(all, page...)
		case size > 0 && len(page) >= allocationsPage: // Just as many, or something on the way dropped the header.
			all, index, size = nil, 0, 0 // Everything in one answer.
		default:
			return append(all, page...), index, nil
		}
	}
}

// covers are the namespaces that a stream covers which is opened from now on. A stream of
// all namespaces does not cover those that are made after it was opened.
func (c *Client) covers(ctx context.Context, namespace string) (map[string]bool, error) {
	if namespace != everywhere {
		return map[string]bool{namespace: true}, nil
	}
	all, err := c.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, n := range all {
		names[n] = true
	}
	return names, nil
}

// Namespaces are those in which the agent's own token has any right.
func (c *Client) Namespaces(ctx context.Context) ([]string, error) {
	var all []struct{ Name string }
	if _, err := c.api().Raw().Query("/v1/namespaces", &all, c.query(ctx, c.Token(), "")); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", translate(err))
	}
	var names []string
	for _, n := range all {
		names = append(names, n.Name)
	}
	return names, nil
}

// mayList is nil if the agent's own token may list jobs in at least one namespace.
func (c *Client) mayList(ctx context.Context) error {
	_, err := c.jobsIndex(ctx)
	return err
}

// jobsIndex is Nomad's index of the last change of any job. It goes back only if Nomad is
// restored, or starts with an empty state.
func (c *Client) jobsIndex(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var some []struct{ ID string }
	meta, err := c.api().Raw().Query("/v1/jobs?per_page=1", &some, c.query(ctx, c.Token(), everywhere))
	if err != nil {
		return 0, fmt.Errorf("list jobs: %w", translate(err))
	}
	return meta.LastIndex, nil
}
