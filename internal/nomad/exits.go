package nomad

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
)

// maxRestart bounds the characters of the reason for a restart.
const maxRestart = 120

// exits are the unrequested exits of an allocation's tasks, and the requested restarts, as
// far as Nomad has their events: it keeps ten per task.
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
	stopRequested := false // Nomad was asked to end the task.
	for i, e := range events {
		switch e.Type {
		case api.TaskStarted:
			stopRequested = false
		case api.TaskKilling, api.TaskLeaderDead, api.TaskSiblingFailed:
			stopRequested = true
		case api.TaskRestartSignal:
			stopRequested = true
			why := wadi.OneLine(secrets.Text(cmp.Or(e.Details["restart_reason"], e.DisplayMessage, "restart requested")), maxRestart)
			out = append(out, wadi.Exit{Instance: instance, Task: task, At: e.Time, Restart: why})
		case api.TaskTerminated:
			x := exitOf(e)
			if stopRequested || x.Code == 0 && x.Signal == 0 && !x.OOM && !restarts(events[i+1:]) {
				continue // A task that has done its work may exit.
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

// restarts reports whether Nomad restarted the task afterwards.
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

// exits are those of a revision's instances, by time and instance.
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

// Exits are the unrequested exits of a revision's tasks, and the requested restarts, as
// far as Nomad keeps them, oldest first. The slice must not be written to.
func (w *Watcher) Exits(namespace, revision string) []wadi.Exit {
	if v, ok := w.lookUp(namespace, revision); ok {
		return v.exits
	}
	return nil
}
