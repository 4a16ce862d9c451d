package wadi

// TrafficOrder says that the traffic of a service was set by a call of its own, and not by
// its file. The zero value: it was set by the file, or is the default.
type TrafficOrder struct {
	// From is the revision that a rollback took the traffic from; empty: the call named
	// the targets.
	From string `json:"from,omitempty"`
	By   string `json:"by,omitempty"` // Name of the caller's token; empty: unknown.
	At   int64  `json:"at,omitempty"` // Unix seconds.
}

// String is how it was set, for messages: "wadi rollback", or "wadi traffic".
func (o TrafficOrder) String() string {
	text := "wadi traffic"
	if o.From != "" {
		text = "wadi rollback"
	}
	if o.By != "" {
		text += " by " + o.By
	}
	return text
}

// Pinned reports whether no target gives [Latest] a share, so that no new revision takes
// traffic by itself.
func Pinned(targets []TrafficTarget) bool {
	for _, t := range targets {
		if t.Revision == Latest && t.Percent > 0 {
			return false
		}
	}
	return len(targets) > 0
}
