package wadi

import "time"

// Exit is an end of a task that nobody asked for, or a restart that somebody or something
// had Nomad make.
type Exit struct {
	Instance string // Allocation ID.
	Task     string
	At       int64  // Unix nanoseconds, by the clock of its node.
	Code     int    // What it exited with.
	Signal   int    // That ended it; 0: none.
	OOM      bool   // The kernel killed it for want of memory, as the driver saw.
	Restart  string // Why Nomad restarted it; empty: it ended by itself.
}

// The kinds of [ExitStatus].
const (
	ExitOOM     = "out_of_memory"
	ExitItself  = "exited"
	ExitRestart = "restarted"
)

// ExitStatus counts the ends of one task of a revision's instances that are alike.
type ExitStatus struct {
	Task  string    `json:"task"`
	Kind  string    `json:"kind"` // out_of_memory, exited or restarted.
	What  string    `json:"what"` // In words, with what the task is.
	Times int       `json:"times"`
	Last  time.Time `json:"last"` // By the clock of its node.
}
