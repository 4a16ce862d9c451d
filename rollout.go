package wadi

import "time"

// Rollout says how a new revision takes over the share of the target [Latest]: in steps over
// time, and, if it has a gate, only as long as it answers no worse than the revision before.
type Rollout struct {
	// Duration is the time from the first step, of 1 % of the target's share, to the last.
	// 0 moves all at once, when the revision is ready.
	Duration Duration `json:"duration,omitempty"`
	Steps    int      `json:"steps,omitempty"` // After the first; 0: as many as Duration and the time of one change permit.
	Hold     Duration `json:"hold,omitempty"`  // The least time of a step, counted once callers are served by it.

	MaxErrorPercent float64  `json:"max_error_percent,omitempty"` // By how many percent of the requests the new revision may fail more than the old; 0: no gate on errors.
	MaxP99          Duration `json:"max_p99,omitempty"`           // The 99th percentile of the latency that the new revision may reach; 0: no gate on latency.
	ErrorCodes      []string `json:"error_codes,omitempty"`       // What counts as an error: "5xx", "429", "grpc:14"; empty: 5xx, and gRPC's errors of servers.
}

// Gradual reports whether a new revision takes over in steps.
func (r *Rollout) Gradual() bool { return r != nil && r.Duration > 0 }

// Gated reports whether each step is judged by the requests that were answered.
func (r *Rollout) Gated() bool { return r != nil && (r.MaxErrorPercent > 0 || r.MaxP99 > 0) }

// RolloutAction is what a caller orders about a rollout.
type RolloutAction string

// The orders about a rollout.
const (
	RolloutPause  RolloutAction = "pause"  // Shares stay as they are.
	RolloutResume RolloutAction = "resume" // It goes on where it was paused.
	RolloutAbort  RolloutAction = "abort"  // The revision gives its share back, and gets none until it is submitted again.
)

// RolloutOrder is the last order about the rollouts of a service. The zero value is none.
type RolloutOrder struct {
	Action   RolloutAction `json:"action,omitempty"`
	Revision string        `json:"revision,omitempty"` // The revision that was to take over: an abort concerns no other.
	By       string        `json:"by,omitempty"`       // Name of the caller's token; empty: unknown.
	At       int64         `json:"at,omitempty"`       // Unix seconds.
}

// RolloutPhase says what a rollout does.
type RolloutPhase string

// The phases of a rollout.
const (
	RolloutWarming    RolloutPhase = "warming"     // Instances for the next share start.
	RolloutStepping   RolloutPhase = "stepping"    // The next step comes by the clock.
	RolloutJudging    RolloutPhase = "judging"     // The gate waits for enough requests.
	RolloutPaused     RolloutPhase = "paused"      // By a caller's order.
	RolloutDone       RolloutPhase = "done"        // The new revision has the whole share.
	RolloutAborted    RolloutPhase = "aborted"     // By a caller's order.
	RolloutRolledBack RolloutPhase = "rolled-back" // By the gate.
)

// UnderWay reports whether a rollout has not ended.
func (p RolloutPhase) UnderWay() bool {
	switch p {
	case RolloutWarming, RolloutStepping, RolloutJudging, RolloutPaused:
		return true
	}
	return false
}

// RolloutStatus is the rollout that is under way, or else the last one, as the leader sees it.
type RolloutStatus struct {
	Phase    RolloutPhase `json:"phase"`
	Revision string       `json:"revision"` // That takes over.
	From     string       `json:"from"`     // That had most of the share before.
	Percent  float64      `json:"percent"`  // Of the target "latest" that Revision has now.
	Step     int          `json:"step"`     // The first, of 1 %, is 1.
	Steps    int          `json:"steps"`
	Next     time.Time    `json:"next,omitzero"`    // When the next step is due; zero: not by the clock.
	Reason   string       `json:"reason,omitempty"` // Why it is where it is.
	Since    time.Time    `json:"since"`            // When it entered Phase.
}

// UnderWay reports whether there is a rollout that has not ended.
func (r *RolloutStatus) UnderWay() bool { return r != nil && r.Phase.UnderWay() }
