package agent

import (
	"context"
	"sync/atomic"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/scheduler"
)

// installation is the name by which the jobs of this installation differ from those of others.
// A Consul that has lost everything is another installation.
type installation struct {
	store *store.Store
	last  atomic.Pointer[string]
}

// name returns the name that was read last; empty before the first read.
func (i *installation) name() string {
	if name := i.last.Load(); name != nil {
		return *name
	}
	return ""
}

// read reads the name, and makes it where there is none.
func (i *installation) read(ctx context.Context) (string, error) {
	name, err := i.store.Installation(ctx)
	if err == nil {
		i.last.Store(&name)
	}
	return name, err
}

// ownedJobs lists the jobs of this installation.
type ownedJobs struct {
	nomad        *nomad.Client
	installation *installation
}

// list reads the installation's name each time: a Consul that has lost everything since is
// another installation, in which no service is stored yet.
func (o ownedJobs) list(ctx context.Context) ([]scheduler.OwnJob, error) {
	name, err := o.installation.read(ctx)
	if err != nil {
		return nil, err
	}
	jobs, err := o.nomad.OwnedJobs(ctx, name)
	out := make([]scheduler.OwnJob, 0, len(jobs))
	for _, j := range jobs {
		service, _, _ := wadi.SplitRevisionID(j.ID)
		out = append(out, scheduler.OwnJob{Namespace: j.Namespace, ID: j.ID, Service: service, Index: j.JobModifyIndex})
	}
	return out, err
}
