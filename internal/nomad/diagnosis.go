package nomad

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
)

// maxDiagnosis bounds the characters of a diagnosis: much of it comes from apps, images
// and registries.
const maxDiagnosis = 400

// placementReason describes Nomad's metrics of a failed placement, for instance "no node
// fits: memory exhausted on 1 node".
func placementReason(failed map[string]*api.AllocationMetric) string {
	m := failed[wadi.GroupInstance]
	if m == nil {
		for _, name := range slices.Sorted(maps.Keys(failed)) {
			m = failed[name]
			break
		}
	}
	if m == nil {
		return ""
	}
	available := 0
	for _, n := range m.NodesAvailable {
		available += n
	}
	var why []string
	if available == 0 && m.NodesEvaluated == 0 {
		why = append(why, "no node is available in the job's datacenters and node pool")
	}
	for _, k := range slices.Sorted(maps.Keys(m.ConstraintFiltered)) {
		why = append(why, fmt.Sprintf("constraint %q excludes %s", k, nodes(m.ConstraintFiltered[k])))
	}
	for _, k := range slices.Sorted(maps.Keys(m.DimensionExhausted)) {
		why = append(why, fmt.Sprintf("%s exhausted on %s", k, nodes(m.DimensionExhausted[k])))
	}
	for _, k := range m.QuotaExhausted {
		why = append(why, fmt.Sprintf("quota %s exhausted", k))
	}
	if len(why) == 0 {
		why = append(why, fmt.Sprintf("%s of %d filtered, %d exhausted", nodes(m.NodesFiltered), m.NodesEvaluated, m.NodesExhausted))
	}
	return wadi.OneLine("no node fits: "+strings.Join(why, "; "), maxDiagnosis)
}

func nodes(n int) string { return wadi.Quantity(n, "node") }

// taskProblem is the latest problem of a task that Nomad reports; empty if there is none.
func taskProblem(states map[string]*api.TaskState) string {
	var text string
	var at int64
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if what, when := lastProblem(states[name]); what != "" && when > at {
			text, at = fmt.Sprintf("task %s: %s", name, what), when
		}
	}
	return wadi.OneLine(text, maxDiagnosis)
}

// eventTemplate is the type of the event that a task's templates wait for something: a
// variable, a key, a secret. Nomad's API has no name for it.
const eventTemplate = "Template"

// ordinary are the types of events that every task has, or that end it on purpose. Any
// other type, known or not, reports something that keeps a task from running.
var ordinary = []string{
	api.TaskReceived, api.TaskSetup, api.TaskBuildingTaskDir, api.TaskDownloadingArtifacts, api.TaskDriverMessage, api.TaskStarted,
	api.TaskTerminated, api.TaskRestarting, api.TaskSignaling, api.TaskRestartSignal, api.TaskKilling, api.TaskKilled,
	api.TaskLeaderDead, api.TaskSiblingFailed, api.TaskClientReconnected, "Main Tasks Dead",
	"Waiting for shutdown delay", "Skipping shutdown delay", "Running", "Pausing", "Plugin became healthy",
}

// lastProblem finds the latest bad event of a task. An intended end is no problem,
// whatever its exit code.
func lastProblem(s *api.TaskState) (text string, at int64) {
	if s == nil {
		return "", 0
	}
	stopRequested := false // Nomad was asked to end it.
	waitsFor := ""         // What keeps it from starting; reset when it has started.
	for _, e := range s.Events {
		what := message(e)
		switch {
		case e.Type == api.TaskStarted:
			stopRequested = false
			if text == waitsFor {
				text, at = "", 0
			}
			waitsFor = ""
		case failsTask(e) && e.Type == api.TaskKilling:
			text, at, stopRequested = what, e.Time, true // Not on purpose: a template or a secret failed, for instance.
		case e.Type == api.TaskKilling, e.Type == api.TaskRestartSignal, e.Type == api.TaskLeaderDead, e.Type == api.TaskSiblingFailed:
			stopRequested = true
		case e.Type == api.TaskTerminated:
			if code := e.Details["exit_code"]; !stopRequested && (code != "0" || e.Details["oom_killed"] == "true") {
				text, at = terminated(e), e.Time
			}
		case e.Type == api.TaskNotRestarting:
			switch {
			case text == "":
				text, at = what, e.Time
			case lacksImage(s.Events): // It says enough, and is the same at each try.
			default:
				text, at = text+"; not restarted: "+what, e.Time
			}
		case slices.Contains(ordinary, e.Type):
		case e.Type == eventTemplate:
			waitsFor = "waits for " + strings.TrimPrefix(what, "Missing: ")
			text, at = waitsFor, e.Time
		case e.Type == api.TaskDriverFailure:
			text, at = inWords(what), e.Time
		case isFailure(e.Type):
			text, at = what, e.Time
		case s.State != "running" && !stopRequested:
			waitsFor = e.Type + ": " + what
			text, at = waitsFor, e.Time
		}
	}
	return text, at
}

// isFailure reports whether an event's message is complete without its type.
func isFailure(kind string) bool {
	switch kind {
	case api.TaskDriverFailure, api.TaskSetupFailure, api.TaskFailedValidation, api.TaskArtifactDownloadFailed, "Task hook failed":
		return true
	}
	return false
}

// message is what an event says. A failed artifact is named with its URL, which may have a
// password.
func message(e *api.TaskEvent) string {
	return secrets.Text(strings.TrimSpace(cmp.Or(e.DisplayMessage, e.Message, e.Type)))
}

func failsTask(e *api.TaskEvent) bool { return e.FailsTask || e.Details["fails_task"] == "true" }

func terminated(e *api.TaskEvent) string {
	switch x := exitOf(e); {
	case x.OOM && x.Killed():
		return "killed for want of memory (" + e.DisplayMessage + ")"
	case x.OOM:
		return "a process of it was killed for want of memory, then it ended (" + e.DisplayMessage + ")"
	}
	return e.DisplayMessage
}
