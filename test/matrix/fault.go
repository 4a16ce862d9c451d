//go:build e2e

package matrix

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fault is one thing that is broken on purpose, while requests run.
type Fault struct {
	Name  string // Unique; the row's name in docs/faults.md.
	Group string // The table that its row stands in.

	// Promise is the row of "When things break" in docs/architecture.md that it proves.
	Promise string

	Short bool // Part of the short form, which CI runs.
	Mesh  bool // It needs the mesh.

	// Prepare makes the world breakable, before the row begins. It may be nil.
	Prepare func(ctx context.Context, w *World) error

	// Break breaks it. The mend that it returns may be nil, if what is broken mends itself;
	// Wadi and its callers do nothing for a mend. Break says in w.Hit what it has broken.
	Break func(ctx context.Context, w *World) (mend func(context.Context) error, err error)

	// For is how long it stays broken at least, when there is a mend.
	For time.Duration

	// During returns nil once what is promised while it is broken was seen. It may be nil.
	During func(ctx context.Context, w *World, row *Row) error

	// After is the same for when it is mended and all is as before.
	After func(ctx context.Context, w *World, row *Row) error

	// Allowed are the requests that may fail. None else may.
	Allowed []Allowed
}

// Allowed is a kind of request that may fail during a fault.
type Allowed struct {
	Why string // For docs/faults.md: a phrase, such as "in flight at the killed agent".
	Is  func(Hit, Result) bool
}

// Hit says what a fault has hit, and when.
type Hit struct {
	Agent    string // The agent's name.
	Service  string
	Instance string // The allocation's ID.

	Began, Broken time.Time // When Break began and returned.
	Mended        time.Time // When the mend returned, or Break if there was none; zero before.
	Settled       time.Time // When all was as before.
}

// Row is what one fault did.
type Row struct {
	Fault Fault

	Sent, Answered, Failed int
	Slowest                time.Duration // Of those that were answered.

	// Instances of the services that always have some, counted as processes. During is the
	// fewest that were seen.
	InstancesBefore, InstancesDuring, InstancesAfter int

	// Recovery is the time from the end of the fault until everything was as before: from
	// Hit.Mended.
	Recovery time.Duration

	Notes []string // What else was measured, such as "another agent led after 2.1 s".
	Saw   Saw
}

// Note adds what was measured.
func (r *Row) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// String is the row in a few lines.
func (r Row) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d answered, %d failed, slowest %v; instances %d, %d, %d; as before after %v", r.Sent, r.Answered, r.Failed, r.Slowest, r.InstancesBefore, r.InstancesDuring, r.InstancesAfter, r.Recovery)
	for what, lines := range map[string][]string{"notes": r.Notes, "status": r.Saw.Status, "doctor": r.Saw.Doctor, "answers": r.Saw.Answers} {
		for _, line := range lines {
			b.WriteString("\n  " + what + ": " + line)
		}
	}
	return b.String()
}

// Saw is what users saw of a fault, without what they saw before it.
type Saw struct {
	Status  []string // Conditions that became false.
	Doctor  []string // Findings of wadi doctor.
	Answers []string // Answers that were no success: status, reason and body.
}

// seen bounds what is kept of each kind.
const seen = 12

// add keeps a line, once.
func add(to *[]string, line string) {
	line = strings.Join(strings.Fields(line), " ")
	if len(line) > 240 {
		line = line[:240] + "…"
	}
	if !slices.Contains(*to, line) && len(*to) < seen {
		*to = append(*to, line)
	}
}

// The groups of faults, in the order of docs/faults.md.
const (
	GroupAgents    = "Agents"
	GroupBackends  = "Nomad and Consul"
	GroupInstances = "Instances"
	GroupServices  = "Services and people"
	GroupNetwork   = "The network"
	GroupResources = "Resources"
)

// Groups are all groups, in order.
func Groups() []string {
	return []string{GroupAgents, GroupInstances, GroupServices, GroupBackends, GroupNetwork, GroupResources}
}

// Faults are all faults, in the order of docs/faults.md.
func Faults() []Fault {
	return slices.Concat(
		agentFaults(),
		instanceFaults(),
		serviceFaults(),
		backendFaults(), // Late, see saved.
		networkFaults(),
		clockFaults(),
		resourceFaults(),
	)
}
