package wadi

// ChangeKind says how a part differs between two states.
type ChangeKind string

// The kinds of changes.
const (
	ChangeAdded   ChangeKind = "added"
	ChangeDeleted ChangeKind = "deleted"
	ChangeEdited  ChangeKind = "edited"
	ChangeNone    ChangeKind = "none"
)

// Change is the difference between two states of a thing, as a tree: a part with a value
// has no parts of its own.
type Change struct {
	Kind    ChangeKind `json:"kind"`
	Name    string     `json:"name"` // For instance `Task: "web"`, or scale.max.
	Old     string     `json:"old,omitempty"`
	New     string     `json:"new,omitempty"`
	Note    string     `json:"note,omitempty"` // What follows from it.
	Changes []Change   `json:"changes,omitempty"`
}

// The parts of a Nomad job in a [Change].
const (
	PartJob   = "Job"
	PartGroup = "Task Group"
	PartTask  = "Task"
)

// JobPart is the name of a part of a Nomad job, for instance `Task: "web"`.
func JobPart(part, name string) string { return part + `: "` + name + `"` }
