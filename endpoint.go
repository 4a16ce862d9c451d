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
	Hopeless  bool          `json:"hopeless"`             // It has ended with an error that Nomad calls unrecoverable.
}
