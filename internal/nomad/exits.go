package nomad

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
)

// maxRestart is how many characters are told of why Nomad restarted a task.
const maxRestart = 120

// exits are the ends of an allocation's tasks that nobody asked for, and the restarts
// that were asked for, of which Nomad still tells: it keeps ten events of a task.
func exits(a allocation) []wadi.Exit {
	var out []wadi.Exit
	for _, task := range slices.Sorted(maps.Keys(a.TaskStates)) {
		if s := a.TaskStates[task]; s != nil {
			out = append(out, exitsOf(a.ID, task, s.Events)...)
		}
	}
	return out
}

func exitsOf(instance, task string, events []*api.TaskEvent) (out []wadi.Exit) {
	stopRequested := false // To end.
	for i, e := range events {
		switch e.Type {
		case api.TaskStarted:
			stopRequested = false
		case api.TaskKilling, api.TaskLeaderDead, api.TaskSiblingFailed:
			stopRequested = true
		case api.TaskRestartSignal:
			stopRequested = true
			why := wadi.OneLine(cmp.Or(e.Details["restart_reason"], e.DisplayMessage, "somebody asked for it"), maxRestart)
			out = append(out, wadi.Exit{Instance: instance, Task: task, At: e.Time, Restart: why})
		case api.TaskTerminated:
			x := exitOf(e)
			if stopRequested || x.Code == 0 && x.Signal == 0 && !x.OOM && !restarts(events[i+1:]) {
				continue // A task that is done may end.
			}
			x.Instance, x.Task = instance, task
			out = append(out, x)
		}
	}
	return out
}

func exitOf(e *api.TaskEvent) wadi.Exit {
	number := func(name string, old int) int {
		if n, err := strconv.Atoi(e.Details[name]); err == nil {
			return n
		}
		return old
	}
	return wadi.Exit{
		At: e.Time, OOM: e.Details["oom_killed"] == "true",
		Code: number("exit_code", e.ExitCode), Signal: number("signal", e.Signal),
	}
}

// restarts tells whether Nomad went on to restart the task.
func restarts(next []*api.TaskEvent) bool {
	for _, e := range next {
		switch e.Type {
		case api.TaskRestarting:
			return true
		case api.TaskStarted, api.TaskKilled:
			return false
		}
	}
	return false
}

// exits are those of a revision's instances, by age and instance.
func (r *revision) exits() []wadi.Exit {
	var out []wadi.Exit
	for _, i := range r.instances {
		out = append(out, i.exits...)
	}
	slices.SortFunc(out, func(a, b wadi.Exit) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Task, b.Task))
	})
	return out
}

// Exits are the ends of a revision's tasks that nobody asked for, and the restarts that
// were, of which Nomad tells, the oldest first. The slice must not be written to.
func (w *Watcher) Exits(namespace, revision string) []wadi.Exit {
	if v, ok := w.lookUp(namespace, revision); ok {
		return v.exits
	}
	return nil
}
