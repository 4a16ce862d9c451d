// Package queue is the queue-proxy: the only way into an instance. It limits
// and queues requests, counts them, knows whether the app is ready, and drains.
//
// It has three planes, each on a listener of its own: traffic, admin (loopback)
// and metrics. It promises that the app sees no request beyond the limit, none
// that is meant for another instance, and none of Wadi's internal headers. It
// refuses to read anything but its environment, and never asks Nomad or Consul.
package queue

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// Config is what the environment says; see [ParseEnv].
type Config struct {
	Service  string
	Revision string
	Instance string // Allocation ID; may be empty outside Nomad.

	Listen  string // host:port of the traffic plane.
	Admin   string // host:port of the admin plane.
	Metrics string // host:port of the metrics plane.
	Target  string // host:port of the app.
	Envoy   string // host:port at which Envoy takes calls of the mesh; empty without the mesh.
	Proof   []byte // SHA-256 of what an activator proves itself by, without the mesh; nil: none can.
	// Upstreams are the ports at which Envoy takes the app's own calls, as Nomad's environment says.
	Upstreams []uint16
	Shield    bool     // Our network shall let in nobody but Envoy and who reads the metrics.
	Mapped    []uint16 // The ports in our network that are mapped, as Nomad's environment says.

	Protocol         wadi.Protocol
	Limit            int           // Requests in the app at once; 0 is none.
	Depth            int           // Requests that may wait for the limit; never 0 with a limit.
	MaxInFlight      int           // Bound where there is no limit.
	MaxHTTP2         int           // Connections that speak HTTP/2. Not in the environment.
	Timeout          wadi.Timeouts // Without Progress, which is not for the queue-proxy.
	Probe            wadi.Probe
	Drain            time.Duration // Longest drain.
	Settle           time.Duration // A drain goes on while requests come in such intervals; 0 is DefaultSettle. Not in the environment.
	WriteByteTimeout time.Duration // Callers of HTTP/2 that take nothing for so long are cut off; 0 is [proxy.DeafAfter]. Not in the environment.
	Quiet            []string      // Paths that are not counted as activity.
	History          time.Duration // How long statistics are kept.
	LogLevel         hclog.Level
	AccessLog        bool
}

// Defaults of what the environment leaves out.
const (
	DefaultRequestTimeout = 300 * time.Second
	DefaultProbeTimeout   = time.Second
	DefaultMaxInFlight    = 1000
	DefaultHistory        = time.Hour
	DefaultSettle         = 500 * time.Millisecond

	// depthPerLimit is how many requests may wait for each that is admitted.
	depthPerLimit = 10
)

// Bounds of what the environment may say.
const (
	maxLimit   = 1_000_000
	maxHistory = 24 * time.Hour
)
