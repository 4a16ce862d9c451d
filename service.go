package wadi

import "encoding/json"

// Protocol is what an app speaks.
type Protocol string

// The protocols an app may speak.
const (
	HTTP1 Protocol = "http1"
	H2C   Protocol = "h2c"
	GRPC  Protocol = "grpc"
)

// HTTP2 reports whether p is spoken over HTTP/2.
func (p Protocol) HTTP2() bool { return p == H2C || p == GRPC }

// Visibility says from where a service can be called.
type Visibility string

// The visibilities of a service.
const (
	Public   Visibility = "public" // Gateway and mesh.
	MeshOnly Visibility = "mesh"   // No gateway route.
)

// NetworkMode is the Nomad network mode of an instance.
type NetworkMode string

// The network modes of an instance.
const (
	Bridge NetworkMode = "bridge"
	Host   NetworkMode = "host"
)

// MeshMode says how an instance takes part in the Consul mesh.
type MeshMode string

// The mesh modes of a service.
const (
	MeshEnvoy MeshMode = "envoy" // An Envoy sidecar terminates mTLS.
	MeshOff   MeshMode = "off"   // Plain HTTP on a mapped port.
)

// Latest in a traffic target stands for the newest revision that became ready.
const Latest = "latest"

// Service is what a user submits, defaulted and validated.
type Service struct {
	Name        string      `json:"name"`
	Namespace   string      `json:"namespace"` // Nomad's; can't change later.
	Datacenters []string    `json:"datacenters"`
	NodePool    string      `json:"node_pool"`
	Priority    int         `json:"priority"`
	Port        int         `json:"port"`     // Port of the app, passed as $PORT. Dynamic in host networks.
	Protocol    Protocol    `json:"protocol"` // Can't change later.
	Domains     []string    `json:"domains,omitempty"`
	Visibility  Visibility  `json:"visibility"`
	ServingTask string      `json:"serving_task"` // The task that listens on $PORT.
	Network     NetworkMode `json:"network"`
	Mesh        MeshMode    `json:"mesh"`
	Upstreams   []Upstream  `json:"upstreams,omitempty"`

	// Instance is the instance block as Nomad's parser returned it: a Nomad task
	// group in JSON. Opaque outside package jobspecs.
	Instance json.RawMessage `json:"instance"`

	Probe            Probe             `json:"probe"`
	ConcurrencyLimit int               `json:"concurrency_limit"` // Requests at once in one instance; 0 is none.
	Timeout          Timeouts          `json:"timeout"`
	Queue            Queue             `json:"queue"`
	Scale            Scaling           `json:"scale"`
	Traffic          []TrafficTarget   `json:"traffic"`
	Routes           []RouteRule       `json:"routes,omitempty"`
	Rollout          *Rollout          `json:"rollout,omitempty"` // Nil: a new revision takes over at once.
	Sticky           *Sticky           `json:"sticky,omitempty"`  // Nil: each request is split by itself.
	Mirror           *Mirror           `json:"mirror,omitempty"`  // Nil: no request is copied.
	Retention        Retention         `json:"retention"`
	Intentions       *Intentions       `json:"intentions,omitempty"` // Nil: unmanaged.
	Meta             map[string]string `json:"meta,omitempty"`
	ResolveImages    ResolveImages     `json:"resolve_images"`
	ImagePrefetch    bool              `json:"image_prefetch"` // A new revision's images are fetched to the nodes before it starts.
}

// Upstream is another service that the app calls through its Envoy.
type Upstream struct {
	Service   string `json:"service"`
	LocalPort int    `json:"local_port"` // On 127.0.0.1 of the instance.
}

// Probe says how the queue-proxy asks the app whether it is ready. At most one
// of HTTP, TCP and GRPC is set; none of them is a TCP connect.
type Probe struct {
	HTTP    string   `json:"http,omitempty"` // Path; 200–399 is ready.
	TCP     bool     `json:"tcp,omitempty"`
	GRPC    *string  `json:"grpc,omitempty"` // Service name for grpc.health.v1.Health; may be empty.
	Timeout Duration `json:"timeout"`        // Of one attempt.
}

// Timeouts of a request and of a revision's start. 0 switches ResponseStart and Idle off.
type Timeouts struct {
	Request       Duration `json:"request"` // Whole request, waiting included.
	ResponseStart Duration `json:"response_start"`
	Idle          Duration `json:"idle"`     // Between bytes of the response.
	Progress      Duration `json:"progress"` // A revision that is not ready by then has failed.
}

// Queue bounds the requests that wait for an instance at an activator.
type Queue struct {
	Depth   int      `json:"depth"` // Per revision and agent.
	Timeout Duration `json:"timeout"`
	Quiet   []string `json:"quiet,omitempty"` // Paths that never wake and are not activity.
}

// TrafficTarget sends a share of a service's requests to a revision.
type TrafficTarget struct {
	Revision string  `json:"revision"` // Latest, or a revision's ID.
	Percent  float64 `json:"percent"`  // In steps of 0.01.
	Tag      string  `json:"tag,omitempty"`
}

// Retention bounds how many revisions are kept, and how long. A revision beyond Keep goes
// when both ages have passed.
type Retention struct {
	Keep          int       `json:"keep"`                      // Besides the routed ones: those that had traffic last.
	KeepFor       *Duration `json:"keep_for,omitempty"`        // Since it was submitted; nil: the agent's.
	KeepActiveFor *Duration `json:"keep_active_for,omitempty"` // Since it last had traffic; nil: the agent's.
}

// UnknownNamespace stands in for the namespace of a service that does not exist when
// Nomad is asked for a caller's rights, so that the answer takes as long as the one about
// a service of another namespace. No namespace has that name.
const UnknownNamespace = "wadi.nowhere"
