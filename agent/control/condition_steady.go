package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// ConditionSteady is the type of the condition of a service whose tasks ended unexpectedly
// of late, though a revision was ready. Others have none. ReasonOOM: one was killed for
// want of memory.
const (
	ConditionSteady = "Steady"
	ReasonOOM       = "OutOfMemory"
	reasonExits     = "Exits"
)

// steadyCondition says of each revision that was ready how tasks of it ended lately.
func steadyCondition(s *service, now time.Time) (c wadi.Condition, steady bool) {
	c = wadi.Condition{Type: ConditionSteady, Reason: reasonExits}
	var unsteady []string
	for _, r := range s.Revisions {
		e := s.notes(r.ID).exits.unsteady(now)
		if e == nil || s.state(r.ID).Phase != wadi.Ready {
			continue
		}
		if e.Kind == wadi.ExitOOM {
			c.Reason = ReasonOOM
		}
		unsteady = append(unsteady, fmt.Sprintf("%s: %s%s, last at %s", r.ID, e.What, times(e.Times), e.Last.Format(time.TimeOnly+" MST")))
	}
	c.Message = strings.Join(unsteady, "; ")
	return c, len(unsteady) == 0
}

func kindOf(e wadi.Exit) string {
	switch {
	case e.OOM:
		return wadi.ExitOOM
	case e.Restart != "":
		return wadi.ExitRestart
	}
	return wadi.ExitItself
}

func eventOf(kind string) string {
	switch kind {
	case wadi.ExitOOM:
		return EventOOM
	case wadi.ExitRestart:
		return EventRestarted
	}
	return EventExited
}

// exitWhat says what happened to which task. The task's name is the user's.
func exitWhat(e wadi.Exit, app string) string {
	task := wadi.OneLine(taskName(e.Task, app), exitNameMost)
	switch {
	case e.OOM && e.Killed():
		return task + " was killed for want of memory"
	case e.OOM && e.Code == 0 && e.Signal == 0:
		return task + " ended, after a process of it was killed for want of memory"
	case e.OOM && e.Signal != 0:
		return fmt.Sprintf("%s ended by signal %d, after a process of it was killed for want of memory", task, e.Signal)
	case e.OOM:
		return fmt.Sprintf("%s exited with code %d, after a process of it was killed for want of memory", task, e.Code)
	case e.Restart != "":
		return task + " was restarted: " + e.Restart
	case e.Killed():
		return task + " was killed by signal 9: for want of memory, or by another process"
	case e.Signal != 0:
		return fmt.Sprintf("%s ended by signal %d", task, e.Signal)
	}
	return fmt.Sprintf("%s exited with code %d", task, e.Code)
}

// taskName says what a task of a revision's instances is.
func taskName(task, app string) string {
	switch {
	case task == app:
		return fmt.Sprintf("the app (task %s)", task)
	case task == wadi.TaskQueueProxy:
		return "Wadi's queue-proxy"
	case strings.HasPrefix(task, wadi.PortEnvoy("")):
		return fmt.Sprintf("the Envoy (task %s)", task)
	}
	return "task " + task
}

func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(", %d times", n)
}

// exitText is what an event says.
func exitText(f exitKind) string {
	return fmt.Sprintf("%s%s; last in instance %.8s", f.What, times(f.Times), f.instance)
}
