package wadi

// Mark is what a caller wants of one revision, whatever traffic it has. The zero value is
// nothing.
type Mark struct {
	Pinned  bool   `json:"pinned,omitempty"`  // Retention keeps it.
	Deleted bool   `json:"deleted,omitempty"` // The leader removes it with its job.
	By      string `json:"by,omitempty"`      // Name of the caller's token; empty: unknown.
}

// Marked is what decides whether a revision may be marked, read at one moment.
type Marked struct {
	Spec  Spec
	Route Route           // Zero: none.
	Marks map[string]Mark // By revision.
}
