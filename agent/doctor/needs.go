package doctor

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// Needs is what the services of an installation need of Nomad's nodes.
type Needs struct {
	Pool       string   // The node pool of services that name none.
	In         []string // Their datacenters; * is any text.
	QueueProxy string   // The driver of the queue-proxy; empty: there is none yet.
	Sidecar    Sidecar  // The task that runs Envoy.

	Mesh   bool          // Services are in the mesh, or will be unless they say otherwise.
	Bridge bool          // The same of bridge networks.
	Drain  time.Duration // How long an instance may drain: the longest request of a routed revision, and a margin.
}

// Sidecar is how Envoy runs.
type Sidecar struct {
	Driver  string
	Image   string // With docker; empty: Nomad's own choice.
	Version string // Of Envoy; empty: not known, or chosen by Consul.
}

// defaultSidecarDriver is Nomad's.
const defaultSidecarDriver = "docker"

// imageVersion finds the version in an image's tag, such as envoyproxy/envoy:distroless-v1.36.4.
var imageVersion = regexp.MustCompile(`:[a-z-]*v?([0-9]+\.[0-9]+\.[0-9]+)[^:/]*$`)

// task is what matters here of a task of the configuration.
type task struct {
	Driver string
	Config struct {
		Image   string   `json:"image"`
		Command string   `json:"command"`
		Args    []string `json:"args"`
	}
}

// DriverOf is the driver of a task in JSON; empty if it has none.
func DriverOf(raw json.RawMessage) string {
	var t task
	_ = json.Unmarshal(raw, &t) // A task without a driver is none; the configuration was checked.
	return t.Driver
}

// SidecarOf reads how Envoy runs from the agent's sidecar task; nil is Nomad's own. installed
// returns the version of an Envoy on this machine; empty: there is none.
func SidecarOf(raw json.RawMessage, installed func(program string) string) Sidecar {
	s := Sidecar{Driver: defaultSidecarDriver}
	var t task
	if len(raw) == 0 || json.Unmarshal(raw, &t) != nil {
		return s
	}
	if t.Driver != "" {
		s.Driver = t.Driver
	}
	s.Image = t.Config.Image
	if m := imageVersion.FindStringSubmatch(s.Image); m != nil {
		s.Version = m[1]
	} else if program := t.program(); program != "" {
		s.Version = installed(program)
	}
	return s
}

// inScript finds Envoy's program in a script of a shell.
var inScript = regexp.MustCompile(`(?:^|[\s;&])((?:/[\w.+-]+)*/?envoy)(?:\s|$)`)

// program is Envoy's program in a task of raw_exec or exec; empty: not known.
func (t task) program() string {
	if path.Base(t.Config.Command) == "envoy" {
		return t.Config.Command
	}
	for _, arg := range t.Config.Args {
		if m := inScript.FindStringSubmatch(arg); m != nil {
			return m[1]
		}
	}
	return ""
}

// where is where nodes are that services need, after "the node pool".
func (n Needs) where() string {
	if len(n.In) == 0 || slices.Contains(n.In, "*") {
		return n.Pool
	}
	return fmt.Sprintf("%s (%s %s)", n.Pool, wadi.Plural(len(n.In), "datacenter", "datacenters"), strings.Join(n.In, ", "))
}

// killMargin is how much longer than its longest request an instance may take to end.
const killMargin = 10 * time.Second

// NeedsOf is what routed services need, and services that only have the defaults.
func NeedsOf(defaults wadi.Service, routes map[string]wadi.Route) Needs {
	n := Needs{Pool: defaults.NodePool, In: defaults.Datacenters, Mesh: defaults.Mesh == wadi.MeshEnvoy, Bridge: defaults.Network == wadi.Bridge}
	for _, r := range routes {
		n.Mesh = n.Mesh || inMesh(r)
		for _, rev := range r.Revisions {
			n.Drain = max(n.Drain, rev.Timeout.Request.D()+killMargin)
		}
	}
	n.Bridge = n.Bridge || n.Mesh
	return n
}
