package wadi

import "time"

// Exit is an end of a task that no user asked for, or a restart by Nomad that a user, a
// template or a check asked for.
type Exit struct {
	Instance string // Allocation ID.
	Task     string
	At       int64  // Unix nanoseconds, by the clock of its node.
	Code     int    // Exit code.
	Signal   int    // Signal that ended it; 0: none.
	OOM      bool   // The kernel killed a process of it for lack of memory, as the driver reports: its first one if it was Killed.
	Restart  string // Reason of the restart; empty: the task ended by itself.
}

// Killed reports whether SIGKILL ended the task's first process. A shell, and a container,
// passes that on as an exit code.
func (e Exit) Killed() bool { return e.Signal == 9 || e.Code == 137 }

// The kinds of [ExitStatus].
const (
	ExitOOM     = "out_of_memory"
	ExitItself  = "exited"
	ExitRestart = "restarted"
)

// ExitStatus counts the like ends of one task in a revision's instances.
type ExitStatus struct {
	Task  string    `json:"task"`
	Kind  string    `json:"kind"` // ExitOOM, ExitItself or ExitRestart.
	What  string    `json:"what"` // Description, with the task's role.
	Times int       `json:"times"`
	Last  time.Time `json:"last"` // By the clock of its node.
}
