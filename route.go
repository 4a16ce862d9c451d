package wadi

import "time"

// Route is what every agent needs to know to serve a service: abstract, and
// realised by network layers (the mesh's config entries, the gateway's table).
type Route struct {
	Service    string     `json:"service"`
	Namespace  string     `json:"namespace"`
	Protocol   Protocol   `json:"protocol"`
	Visibility Visibility `json:"visibility"`
	Domains    []string   `json:"domains,omitempty"`
	Mesh       MeshMode   `json:"mesh"`

	// Intentions are who may call it; nil leaves that to others.
	Intentions *Intentions `json:"intentions,omitempty"`

	// ThroughActivator has every mesh call go through an activator, also while
	// instances run: the service has a burst capacity.
	ThroughActivator bool `json:"through_activator,omitempty"`

	// Targets take the traffic; their weights sum to 10000. Empty while the
	// service is being deleted.
	Targets []RouteTarget `json:"targets"`

	// Revisions holds the settings of every revision that may get a request:
	// the targets', and those that still drain.
	Revisions map[string]RouteRevision `json:"revisions"`
}

// Deleted reports whether the service is being deleted: nobody is let in any more, and
// nothing is woken. What its revisions still have to finish is finished.
func (r Route) Deleted() bool { return r.Service != "" && len(r.Targets) == 0 }

// WithoutProofs is r as it may be shown.
func (r Route) WithoutProofs() Route {
	shown := make(map[string]RouteRevision, len(r.Revisions))
	for id, rev := range r.Revisions {
		rev.Proof = ""
		shown[id] = rev
	}
	r.Revisions = shown
	return r
}

// Main is the revision with the largest share of the traffic, the newest of
// several; empty without traffic.
func (r Route) Main() string {
	shares := map[string]int{}
	main := ""
	for _, t := range r.Targets {
		shares[t.Revision] += t.Weight
	}
	for id, share := range shares {
		if share > shares[main] || share > 0 && share == shares[main] && id > main {
			main = id
		}
	}
	return main
}

// RouteTarget is one leg of a route.
type RouteTarget struct {
	Revision string `json:"revision"`
	Weight   int    `json:"weight"` // In hundredths of a percent.
	Tag      string `json:"tag,omitempty"`
}

// RouteRevision is what an activator needs to hold, wake and forward.
type RouteRevision struct {
	Timeout          Timeouts `json:"timeout"`
	Queue            Queue    `json:"queue"`
	ConcurrencyLimit int      `json:"concurrency_limit"`
	Activation       int      `json:"activation"`
	Max              int      `json:"max"` // The bound that a wake must keep; 0 is none.
	Mesh             MeshMode `json:"mesh"`
	Proof            Proof    `json:"proof,omitempty"` // The revision's.

	// Failed says why the revision can't serve; empty while it may.
	Failed string `json:"failed,omitempty"`
}

// WeightAll is the sum of a route's weights: 100 %.
const WeightAll = 10000

// Endpoint is one placed instance of a revision, as Nomad's event stream tells.
// It is known before its processes run.
type Endpoint struct {
	Revision  string `json:"revision"`
	Service   string `json:"service"`
	Instance  string `json:"instance"` // Allocation ID.
	Namespace string `json:"namespace"`
	Node      string `json:"node"`
	Index     int    `json:"index"` // In its allocation's name: of those that may go Nomad stops the highest first.

	Addr    string `json:"addr"`    // host:port of the traffic path: Envoy's in mesh mode, else the queue-proxy's.
	Metrics string `json:"metrics"` // host:port of the queue-proxy's metrics listener.

	Created   int64         `json:"created"`              // Unix nanoseconds, by Nomad's servers.
	Running   bool          `json:"running"`              // Nomad's client says that its tasks run; it may answer long before.
	Stopping  bool          `json:"stopping"`             // Nomad was told to stop it, or it has ended: no new requests.
	Moving    bool          `json:"moving"`               // Nomad has decided to move it: its node is drained.
	KillAfter time.Duration `json:"kill_after,omitempty"` // How long its client lets its queue-proxy drain, as it said when it ended it; 0: it did not.
	Ended     bool          `json:"ended"`                // Its processes are gone.
	Restarts  int           `json:"restarts"`             // Of all tasks, as the client reported.
	Problem   string        `json:"problem"`              // What Nomad last said went wrong with a task; empty if nothing did.
	Hopeless  bool          `json:"hopeless"`             // It has ended by an error that Nomad calls unrecoverable.
}
