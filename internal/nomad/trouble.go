package nomad

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
)

// FailedPlacements says in words why Nomad can't place instances of a job now;
// empty if nothing is blocked.
func (c *Client) FailedPlacements(ctx context.Context, namespace, id string) (string, error) {
	var all []evaluation
	path := "/v1/job/" + url.PathEscape(id) + "/evaluations"
	if _, err := c.api.Raw().Query(path, &all, c.query(ctx, c.own, namespace)); err != nil {
		return "", fmt.Errorf("read evaluations of job %s: %w", id, translate(err))
	}
	slices.SortFunc(all, func(a, b evaluation) int { return cmp.Compare(b.ModifyIndex, a.ModifyIndex) })
	for _, e := range all {
		if e.Status == "blocked" && len(e.FailedTGAllocs) > 0 {
			return placementReason(e.FailedTGAllocs), nil
		}
	}
	return "", nil
}

// placementReason puts Nomad's metrics of a failed placement into words, for
// instance "no node fits: memory exhausted on 1 node".
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
	return "no node fits: " + strings.Join(why, "; ")
}

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// taskProblem says what Nomad last reported to have gone wrong with a task;
// empty if nothing did.
func taskProblem(states map[string]*api.TaskState) string {
	var text string
	var at int64
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if what, when := lastProblem(states[name]); what != "" && when > at {
			text, at = fmt.Sprintf("task %s: %s", name, what), when
		}
	}
	return text
}

// lastProblem finds the latest bad event of a task. That a task was ended on
// purpose is none, whatever its exit code.
func lastProblem(s *api.TaskState) (text string, at int64) {
	if s == nil {
		return "", 0
	}
	told := false // Nomad told it to end.
	for _, e := range s.Events {
		switch e.Type {
		case api.TaskStarted:
			told = false
		case api.TaskKilling, api.TaskRestartSignal, api.TaskLeaderDead, api.TaskSiblingFailed:
			told = true
		case api.TaskTerminated:
			if code := e.Details["exit_code"]; !told && (code != "0" || e.Details["oom_killed"] == "true") {
				text, at = terminated(e), e.Time
			}
		case api.TaskDriverFailure, api.TaskSetupFailure, api.TaskFailedValidation,
			api.TaskArtifactDownloadFailed, "Task hook failed":
			text, at = strings.TrimSpace(e.DisplayMessage), e.Time
		case api.TaskNotRestarting:
			if text == "" {
				text, at = strings.TrimSpace(e.DisplayMessage), e.Time
			} else {
				text, at = text+"; not restarted: "+strings.TrimSpace(e.DisplayMessage), e.Time
			}
		}
	}
	return text, at
}

func terminated(e *api.TaskEvent) string {
	if e.Details["oom_killed"] == "true" {
		return "killed for want of memory (" + e.DisplayMessage + ")"
	}
	return e.DisplayMessage
}
