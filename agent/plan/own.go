package plan

import (
	"strings"

	"github.com/wadi-run/wadi"
)

// ownNote stands for what is not shown of Wadi's own tasks.
const ownNote = "the agent's own configuration of this task, which is not shown"

// WithoutOwn is the difference between two jobs without the values that come from the
// agent's configuration: the operator's queue-proxy and Envoy may have credentials in it.
// What Wadi sets by the service stays.
func WithoutOwn(job wadi.Change) wadi.Change {
	parts := make([]wadi.Change, 0, len(job.Changes))
	for _, part := range job.Changes {
		if isOwn(part.Name) {
			part = hideOwn(part)
		} else {
			part = WithoutOwn(part)
		}
		parts = append(parts, part)
	}
	job.Changes = parts
	return job
}

// isOwn reports whether a part of a job is written by the agent's operator: the tasks of
// the queue-proxy and of Envoy, and the task's body in the Consul service.
func isOwn(name string) bool {
	return name == wadi.JobPart(wadi.PartTask, wadi.TaskQueueProxy) ||
		strings.HasPrefix(name, strings.TrimSuffix(wadi.JobPart(wadi.PartTask, wadi.PortEnvoy("")), `"`)) || name == "SidecarTask"
}

// hideOwn keeps what Wadi itself sets in one of its tasks.
func hideOwn(task wadi.Change) wadi.Change {
	var kept []wadi.Change
	hidden := false
	for _, part := range task.Changes {
		if part.Name == "KillTimeout" || strings.HasPrefix(part.Name, "Env[WADI_") {
			kept = append(kept, part)
		} else {
			hidden = true
		}
	}
	if hidden {
		kept = append(kept, wadi.Change{Kind: task.Kind, Name: "…", Note: ownNote})
	}
	task.Changes = kept
	return task
}
