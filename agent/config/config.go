// Package config reads the agent's configuration: HCL files, the environment and
// the command line's flags.
//
// It promises to find every mistake at once, each with file and line, and to
// return a configuration that the agent can start with, or none. It refuses
// settings of features that this version does not have: a setting that is
// ignored would be a promise that is not kept.
package config

import (
	"encoding/json"
	"net/netip"
	"os"
	"time"

	"github.com/wadi-run/wadi/jobspecs"
)

// Config is a whole, checked configuration.
type Config struct {
	Dev       bool // The agent brings up a cluster of its own where there is none.
	LogLevel  string
	LogJSON   bool
	Name      string // Of this agent; unique.
	Advertise string // Host where others reach this agent; empty: as Consul's agent.

	HTTP      HTTP
	Metrics   Metrics
	Gateway   Gateway
	Activator Activator
	Nomad     Nomad
	Consul    Consul

	// QueueProxyTask is the Nomad task that runs the sidecar, in JSON. It is nil
	// in dev mode only, unless set.
	QueueProxyTask json.RawMessage
	// SidecarTask is the Nomad task that runs Envoy, in JSON; nil is Nomad's own.
	SidecarTask json.RawMessage
	Mesh        Mesh

	Defaults  jobspecs.Defaults
	Limits    jobspecs.Limits
	Retention Retention
	Telemetry Telemetry
}

// Mesh says how instances are in the mesh.
type Mesh struct {
	// Shield makes the instances of services that are submitted from now on let
	// nobody into their network past Envoy.
	Shield bool
}

// Telemetry says what is told of requests.
type Telemetry struct {
	// OTLPEndpoint is the collector that gets the agent's spans, by OTLP over HTTP:
	// an http or https URL without /v1/traces. Empty: there are none.
	OTLPEndpoint string
	// AccessLog makes the agent and the queue-proxies of services that are submitted
	// from now on write a line for each request on their standard output.
	AccessLog bool
}

// HTTP is the API's listener.
type HTTP struct {
	Address string // host:port
	Auth    Auth
}

// Auth says whose word counts at the API.
type Auth string

// The ways to tell callers of the API apart.
const (
	AuthNomad Auth = "nomad" // The caller's Nomad token decides.
	AuthNone  Auth = "none"  // Everybody may everything; on loopback only.
)

// Metrics is the listener for Prometheus and statistics.
type Metrics struct {
	Address string // host:port
}

// Gateway is where HTTP from outside the mesh comes in.
type Gateway struct {
	Address        string // host:port
	PublicPort     int    // Where callers reach it, as behind a port mapping; 0: Address's.
	Domain         string
	TrustedProxies []netip.Prefix // Whose X-Forwarded headers are believed.
	TLS            GatewayTLS
}

// GatewayTLS is the gateway's listener for HTTPS.
type GatewayTLS struct {
	Address    string // host:port
	PublicPort int    // Where callers reach it, as behind a port mapping; 0: Address's.
	CertDir    string // Of certificates with their keys; empty: there is no such listener.
	Redirect   bool   // The plain listener sends callers here.
}

// Enabled reports whether there is such a listener.
func (t GatewayTLS) Enabled() bool { return t.CertDir != "" }

// Activator is the mesh listener, and the bounds of what waits.
type Activator struct {
	Address         string // host:port
	MaxWaiting      int    // Requests, of all revisions.
	MaxWaitingBytes int64
	MaxWakes        int // Begun per second.
}

// TLS says how a backend's certificate is checked, and what is shown to it.
type TLS struct {
	CAFile     string
	CertFile   string
	KeyFile    string
	SkipVerify bool // By environment only.
}

// Nomad says how Nomad is reached.
type Nomad struct {
	Address string // http://, https:// or unix://
	Region  string
	Token   string
	TLS     TLS
}

// Consul says how Consul is reached, and where Wadi's keys are.
type Consul struct {
	Address string // http://, https:// or unix://
	Token   string
	Prefix  string // Of all keys; ends in a slash.
	TLS     TLS

	// AllowIntentions lets who may submit a service say who may call it. Else its
	// intentions need the caller's own right to them in Consul.
	AllowIntentions bool
}

// Retention bounds how long revisions that are not routed are kept.
type Retention struct {
	KeepFor       time.Duration // Since they were submitted.
	KeepActiveFor time.Duration // Since they last had traffic.
	Max           int           // Revisions of one service.
}

// Flags are the command line's; empty ones are not set.
type Flags struct {
	Dev            bool
	Name           string
	LogLevel       string
	HTTPAddress    string
	GatewayAddress string
	NomadAddress   string
	ConsulAddress  string

	MetricsAddress   string
	ActivatorAddress string
}

// Default is what an agent has that nobody configured. It can't start with it
// outside dev mode: how the sidecar runs has no default.
func Default() Config {
	name, err := os.Hostname()
	if err != nil {
		name = "" // Reported as missing, with how to set it.
	}
	return Config{
		LogLevel:  "info",
		Name:      name,
		HTTP:      HTTP{Address: "127.0.0.1:4747", Auth: AuthNomad},
		Metrics:   Metrics{Address: "0.0.0.0:4748"},
		Gateway:   Gateway{Address: "0.0.0.0:8080", Domain: "wadi.localhost", TLS: GatewayTLS{Address: "0.0.0.0:8443"}},
		Activator: Activator{Address: "0.0.0.0:4749", MaxWaiting: 10_000, MaxWaitingBytes: 256 << 20, MaxWakes: 20},
		Nomad:     Nomad{Address: "http://127.0.0.1:4646"},
		Consul:    Consul{Address: "http://127.0.0.1:8500", Prefix: "wadi/"},
		Limits:    jobspecs.Limits{MaxInstances: 100, MaxRequestTimeout: time.Hour, MaxSpecBytes: 1 << 20},
		Retention: Retention{KeepFor: 48 * time.Hour, KeepActiveFor: 15 * time.Hour, Max: 1000},
	}
}
