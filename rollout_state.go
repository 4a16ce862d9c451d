package wadi

import "time"

// RolloutState is the leader's memory of the rollouts of a service: of the one that is under
// way, or else of the last one. It is stored before a step is taken, so that the next leader
// goes on from there.
type RolloutState struct {
	Revision string `json:"revision,omitempty"` // That takes over.
	From     string `json:"from,omitempty"`     // That had most of the share before.

	// Shares are of the targets [Latest], newest revision first, in hundredths of a percent;
	// they sum to [WeightAll]. Empty: no rollout is under way.
	Shares []RolloutShare `json:"shares,omitempty"`

	End    RolloutPhase `json:"end,omitempty"`    // How it ended; empty: it has not.
	Reason string       `json:"reason,omitempty"` // Why it ended like that.

	Began      time.Time `json:"began,omitzero"`
	Stepped    time.Time `json:"stepped,omitzero"`    // When Shares were last changed.
	Programmed time.Time `json:"programmed,omitzero"` // Since when callers are served by Shares; zero: not yet.
	Took       Duration  `json:"took,omitempty"`      // How long the network layers took for the first step.
	Next       time.Time `json:"next,omitzero"`       // When the next step is due, if nothing keeps it; zero: not known yet.
	Ended      time.Time `json:"ended,omitzero"`

	Paused   bool         `json:"paused,omitempty"`
	Unjudged bool         `json:"unjudged,omitempty"` // A caller wants the next step although the gate waits for requests.
	Order    RolloutOrder `json:"order,omitzero"`     // The last one that was carried out.
}

// RolloutShare is a revision's part of the targets [Latest].
type RolloutShare struct {
	Revision string `json:"revision"`
	Weight   int    `json:"weight"`
}

// Underway reports whether a rollout is under way.
func (s *RolloutState) Underway() bool { return s != nil && len(s.Shares) > 0 && s.End == "" }

// Share is a revision's part of the targets [Latest] in hundredths of a percent, while a
// rollout is under way.
func (s *RolloutState) Share(revision string) int {
	if s != nil {
		for _, sh := range s.Shares {
			if sh.Revision == revision {
				return sh.Weight
			}
		}
	}
	return 0
}
