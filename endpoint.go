package wadi

import "time"

// Endpoint is one placed instance of a revision, from Nomad's event stream. It is known
// before its processes run.
type Endpoint struct {
	Revision  string `json:"revision"`
	Service   string `json:"service"`
	Instance  string `json:"instance"` // Allocation ID.
	Namespace string `json:"namespace"`
	Node      string `json:"node"`
	Index     int    `json:"index"` // In the allocation's name: Nomad stops the highest first.

	Addr    string `json:"addr"`    // host:port of the traffic path: Envoy's in mesh mode, else the queue-proxy's.
	Metrics string `json:"metrics"` // host:port of the queue-proxy's metrics listener.

	Created   int64         `json:"created"`              // Unix nanoseconds, by Nomad's servers.
	Running   bool          `json:"running"`              // Nomad's client reports running tasks; the app may answer long before.
	Stopping  bool          `json:"stopping"`             // It is being stopped or has ended: no new requests.
	Moving    bool          `json:"moving"`               // Nomad moves it because its node is drained.
	KillAfter time.Duration `json:"kill_after,omitempty"` // Time that its client gave its queue-proxy to drain, as reported at its end; 0: unknown.
	Ended     bool          `json:"ended"`                // Its processes are gone.
	Restarts  int           `json:"restarts"`             // Of all tasks.
	Problem   string        `json:"problem"`              // Nomad's latest report of a failing task; empty: none.
	Hopeless  bool          `json:"hopeless"`             // It has ended, and so would another one: its error is one that only a person can end.

	Pull         PullTime    `json:"pull,omitzero"`            // When its tasks' images were pulled; zero: none was.
	PullFailure  PullFailure `json:"pull_failure,omitempty"`   // Why a task lacks its image; empty: none does.
	PullFailedAt int64       `json:"pull_failed_at,omitempty"` // When this agent learnt of the last try that failed, in Unix nanoseconds; 0: none has.
}

// PullTime is when an instance's images were pulled, by the clock of its node: from the
// first one's begin to the last one's end. Nomad reports the end with the task's start.
type PullTime struct {
	After   time.Duration `json:"after"`             // Since the node got the instance.
	Took    time.Duration `json:"took"`              // 0 while Ongoing.
	Ongoing bool          `json:"ongoing,omitempty"` // Some image is pulled now.
}

// Diagnosis is why Nomad can't run a revision's instances. The zero value: nothing is known
// against it.
type Diagnosis struct {
	Reason string      // In words, with what Nomad says.
	Since  time.Time   // Since when this agent has known it.
	Pull   PullFailure // Why a task lacks its image; empty: that is not the reason.
}
