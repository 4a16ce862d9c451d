// Package queue is the queue-proxy: the only way into an instance. It limits and queues
// requests, counts them, answers for the app's readiness, and drains.
//
// It has three planes, each with a listener of its own: traffic, admin (loopback) and
// metrics. It promises that the app sees no request beyond the limit, none for another
// instance, and none of Wadi's internal headers, and that a drain loses no request. It
// reads nothing but its environment, and never calls Nomad or Consul.
package queue

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// Config configures a Proxy; see [ParseEnv].
type Config struct {
	Service  string
	Revision string
	Instance string // Allocation ID; may be empty outside Nomad.

	Listen  string // host:port of the traffic plane.
	Admin   string // host:port of the admin plane.
	Metrics string // host:port of the metrics plane.
	Target  string // host:port of the app.
	Envoy   string // host:port at which Envoy takes calls of the mesh; empty without the mesh.
	Proof   []byte // SHA-256 of the secret that identifies activators without the mesh; nil: nothing does.
	// Upstreams are the ports at which Envoy takes the app's own calls, as Nomad's environment says.
	Upstreams []uint16
	Shield    bool     // The instance's network is to be closed by package firewall.
	Mapped    []uint16 // The mapped ports of the instance's network, as Nomad's environment says.

	Protocol         wadi.Protocol
	Limit            int           // Concurrent requests in the app; 0: no limit.
	Depth            int           // Requests that may wait for the limit; never 0 with a limit.
	MaxInFlight      int           // Bound where there is no limit.
	MaxHTTP2         int           // Connections that speak HTTP/2. Not in the environment.
	Timeout          wadi.Timeouts // Without Progress, which is not for the queue-proxy.
	Probe            wadi.Probe
	Drain            time.Duration // Longest drain.
	Settle           time.Duration // A drain goes on while requests come in such intervals; 0 is DefaultSettle. Not in the environment.
	WriteByteTimeout time.Duration // Time after which an HTTP/2 caller that reads nothing is cut off; 0 is [proxy.DeafAfter]. Not in the environment.
	Quiet            []string      // Paths that are not counted as activity.
	History          time.Duration // How long statistics are kept.
	LogLevel         hclog.Level
	AccessLog        bool
}

// Defaults of absent settings.
const (
	DefaultRequestTimeout = 300 * time.Second
	DefaultProbeTimeout   = time.Second
	DefaultMaxInFlight    = 1000
	DefaultHistory        = time.Hour
	DefaultSettle         = 500 * time.Millisecond

	// depthPerLimit is how many requests may wait for each unit of the limit.
	depthPerLimit = 10
)

// Bounds of settings.
const (
	maxLimit   = 1_000_000
	maxHistory = 24 * time.Hour
)
