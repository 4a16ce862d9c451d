package wadi

// Route is all that an agent needs to serve a service. It is abstract: network layers
// realise it, as the mesh's config entries and as the gateway's table.
type Route struct {
	Service    string     `json:"service"`
	Namespace  string     `json:"namespace"`
	Protocol   Protocol   `json:"protocol"`
	Visibility Visibility `json:"visibility"`
	Domains    []string   `json:"domains,omitempty"`
	Mesh       MeshMode   `json:"mesh"`

	// Intentions list the allowed callers; nil leaves them unmanaged.
	Intentions *Intentions `json:"intentions,omitempty"`

	// ThroughActivator sends every mesh call through an activator, also while
	// instances run, because the service has a burst capacity.
	ThroughActivator bool `json:"through_activator,omitempty"`

	// Targets take the traffic; their weights sum to 10000. Empty while the
	// service is being deleted.
	Targets []RouteTarget `json:"targets"`

	Sticky *Sticky `json:"sticky,omitempty"` // Nil: each request is split by itself.
	Mirror *Mirror `json:"mirror,omitempty"` // Nil: no request is copied.

	// Rules go before the targets' shares, and after tags; the first that a request meets
	// holds.
	Rules []RouteRule `json:"rules,omitempty"`

	// Revisions holds the settings of every revision that may get a request: of the
	// targets, and of revisions that still drain.
	Revisions map[string]RouteRevision `json:"revisions"`
}

// Deleted reports whether the service is being deleted: new requests are refused, no
// instance is started, and requests in flight are finished.
func (r Route) Deleted() bool { return r.Service != "" && len(r.Targets) == 0 }

// WithoutProofs is r without its secrets, as the API may show it.
func (r Route) WithoutProofs() Route {
	shown := make(map[string]RouteRevision, len(r.Revisions))
	for id, rev := range r.Revisions {
		rev.Proof = ""
		shown[id] = rev
	}
	r.Revisions = shown
	return r
}

// Main is the revision with the largest share of the traffic, the newest among equals;
// empty without traffic.
func (r Route) Main() string {
	shares, main := Weights(r.Targets), ""
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

// RouteRevision is what an activator needs to queue, wake and forward.
type RouteRevision struct {
	Timeout          Timeouts `json:"timeout"`
	Queue            Queue    `json:"queue"`
	ConcurrencyLimit int      `json:"concurrency_limit"`
	Activation       int      `json:"activation"`
	Max              int      `json:"max"` // Upper bound of the count that a wake may set; 0 is none.
	Mesh             MeshMode `json:"mesh"`
	Proof            Proof    `json:"proof,omitempty"`

	// Failed is the reason why the revision can't serve; empty: it can.
	Failed string `json:"failed,omitempty"`
}

// WeightAll is the sum of a route's weights: 100 %.
const WeightAll = 10000

// WeightOfPercent is a percentage, in steps of 0.01, as a weight.
func WeightOfPercent(percent float64) int { return int(percent*100 + 0.5) }

// Weights are the weights of revisions, each the sum of its targets.
func Weights(targets []RouteTarget) map[string]int {
	out := map[string]int{}
	for _, t := range targets {
		out[t.Revision] += t.Weight
	}
	return out
}

// WeightOf is the weight of one revision, the sum of its targets.
func WeightOf(targets []RouteTarget, revision string) int {
	weight := 0
	for _, t := range targets {
		if t.Revision == revision {
			weight += t.Weight
		}
	}
	return weight
}
