package nomad

import (
	"context"
	"fmt"
	"time"
)

// readSnapshot asks for all that there is in the namespaces of a subscription.
//
// The jobs come last. What is placed or blocked after its own list was made is told by
// the stream, and is taken in as the list of jobs is newer: were that the older one, an
// instance of a job that was registered in between would be in the list of instances,
// belong to nobody, and not be told again.
func (c *Client) readSnapshot(ctx context.Context, namespace string, covers map[string]bool) (f snapshot, err error) {
	q := c.query(ctx, c.token, namespace)
	q.Filter = `ClientStatus != "complete"`
	qm, err := c.api.Raw().Query("/v1/allocations?resources=true", &f.allocs, q)
	if err != nil {
		return snapshot{}, fmt.Errorf("list allocations: %w", translate(err))
	}
	f.marks.allocs = qm.LastIndex
	q = c.query(ctx, c.token, namespace)
	q.Filter = `Status == "blocked"`
	if qm, err = c.api.Raw().Query("/v1/evaluations", &f.evals, q); err != nil {
		return snapshot{}, fmt.Errorf("list evaluations: %w", translate(err))
	}
	f.marks.evals = qm.LastIndex
	keep := func(ns, id string, _ map[string]string) bool {
		return covers[orDefault(ns)] && isRevisionJob(id)
	}
	f.jobs, f.marks.jobs, err = c.Jobs(ctx, c.token, namespace, keep)
	return f, err
}

// covers are the namespaces that a stream tells of that is opened from now on. One of
// all does not tell of those that are made after it was opened.
func (c *Client) covers(ctx context.Context, namespace string) (map[string]bool, error) {
	if namespace != everywhere {
		return map[string]bool{namespace: true}, nil
	}
	var all []struct{ Name string }
	if _, err := c.api.Raw().Query("/v1/namespaces", &all, c.query(ctx, c.token, "")); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", translate(err))
	}
	names := map[string]bool{}
	for _, n := range all {
		names[n.Name] = true
	}
	return names, nil
}

// mayList is nil if the agent's own token may list jobs in some namespace.
func (c *Client) mayList(ctx context.Context) error {
	_, err := c.jobsIndex(ctx)
	return err
}

// jobsIndex is when any job was changed last, by Nomad's own index. It goes back only if
// Nomad is restored, or begins anew.
func (c *Client) jobsIndex(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var some []struct{ ID string }
	meta, err := c.api.Raw().Query("/v1/jobs?per_page=1", &some, c.query(ctx, c.token, everywhere))
	if err != nil {
		return 0, fmt.Errorf("list jobs: %w", translate(err))
	}
	return meta.LastIndex, nil
}
