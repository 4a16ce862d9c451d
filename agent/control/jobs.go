package control

import (
	"context"

	"github.com/wadi-run/wadi/scheduler"
)

// JobReader reads a job's state from Nomad's servers; a job that does not exist is no error.
type JobReader interface {
	Job(ctx context.Context, namespace, id string) (scheduler.JobState, error)
}

// jobUnchanged reads a job and reports whether it is still the one of index. Nomad guards
// neither stopping nor purging: a job that was registered or scaled since must stay.
func jobUnchanged(ctx context.Context, jobs JobReader, namespace, id string, index uint64) (job scheduler.JobState, same bool, err error) {
	job, err = jobs.Job(ctx, namespace, id)
	return job, err == nil && job.Exists && job.Index == index, err
}
