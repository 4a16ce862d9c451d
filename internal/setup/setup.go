// Package setup makes the files of an installation of Wadi for a cluster that was surveyed:
// the agents' configuration, the policies of their tokens, and the jobs that run them.
//
// It promises that the same cluster and the same choices give the same files, that they hold
// no token, and that an agent starts with them. It asks no cluster and writes no file: "wadi
// init" does.
package setup

import (
	"slices"

	"github.com/wadi-run/wadi/internal/policies"
	"github.com/wadi-run/wadi/internal/survey"
)

// RunsAs is how agents run.
type RunsAs string

// The ways to run agents.
const (
	AsJob     RunsAs = "job"     // Of Nomad, with workload identities.
	AsService RunsAs = "service" // Of each machine, for instance of systemd, with tokens.
)

// Cluster is what was found.
type Cluster struct {
	Nomad  survey.Nomad
	Consul survey.Consul
}

// Backend is how agents as services reach Nomad or Consul.
type Backend struct {
	Address                   string
	CAFile, CertFile, KeyFile string

	ServerName string // By which its certificate was verified; empty: the host of Address.
	SkipVerify bool   // Its certificate was not verified. Agents do verify it.
}

// Choice is what was chosen.
type Choice struct {
	RunsAs RunsAs
	Mesh   bool   // Services are in the mesh unless they say otherwise.
	Driver string // Of the queue-proxy: raw_exec, exec or docker.
	Bin    string // The folder of Wadi's programs on the nodes.
	Image  string // Of the queue-proxy, with docker.

	// Fetch has nodes fetch the queue-proxy from the agents, with raw_exec and exec.
	// Otherwise it is a program on each node.
	Fetch bool

	// EnvoyImage has Nomad's own task run Envoy, by Docker and in the version that Consul
	// wants. Otherwise it is the program envoy on the nodes' PATH.
	EnvoyImage bool

	Domain     string   // Of the gateway.
	Namespaces []string // Of Nomad, with services; may be patterns.
	Prefix     string   // Of keys in Consul; ends in a slash.
	Region     string   // Of Nomad; empty: that of the agent at its address.

	Release, Checksum string // URL of the release archive; empty: the programs are on the nodes.

	Nomad, Consul Backend // Of agents as services.
}

// The drivers that can run the queue-proxy, the best first: it starts in milliseconds
// without a chroot or an image.
func drivers() []string { return []string{"raw_exec", "exec", "docker"} }

// Default is the domain and the folder where nothing else is chosen.
const (
	DefaultDomain = "wadi.localhost"
	DefaultBin    = "/opt/wadi/bin"
	DefaultImage  = "wadi/queue-proxy:0.1"
)

// Suggest chooses what fits the cluster. What is not known is taken for usual.
func Suggest(c Cluster) Choice {
	out := Choice{
		RunsAs: AsJob, Driver: suggestDriver(c.nodes()), Bin: DefaultBin, Image: DefaultImage, Domain: DefaultDomain,
		Namespaces: []string{policies.Everywhere}, Prefix: policies.DefaultPrefix,
	}
	nodes := c.nodes()
	out.EnvoyImage = len(nodes.Ready) > 0 && nodes.With("docker") == len(nodes.Ready)
	out.Mesh = c.meshWorks() && (out.EnvoyImage || nodes.With("raw_exec") == len(nodes.Ready))
	if len(nodes.Ready) > 0 && nodes.With("raw_exec") == 0 && nodes.With("exec") == 0 {
		out.RunsAs = AsService // There is no image of agents.
	}
	return out
}

// suggestDriver is the first driver that is healthy on all nodes, or else on most.
func suggestDriver(nodes survey.Nodes) string {
	best, most := drivers()[0], 0
	for _, d := range drivers() {
		if n := nodes.With(d); n > most {
			best, most = d, n
		}
	}
	return best
}

// meshWorks reports whether Connect is on, and every node that takes jobs can have an
// instance in the mesh.
func (c Cluster) meshWorks() bool {
	nodes := c.nodes()
	return len(c.Consul.Connect.Value) > 0 && len(nodes.Ready) > 0 && nodes.Meshes() == len(nodes.Ready)
}

// defaultPool is Nomad's own node pool, which jobs have without another.
const defaultPool = "default"

// pool is the node pool for services and agents: Nomad's own where it has nodes, else the
// first that has.
func (c Cluster) pool() string {
	pools := c.Nomad.Nodes.Value.Pools()
	if len(pools) == 0 || slices.Contains(pools, defaultPool) {
		return defaultPool
	}
	return pools[0]
}

// nodes are those of the pool.
func (c Cluster) nodes() survey.Nodes { return c.Nomad.Nodes.Value.In(c.pool()) }

// Drivers are those of drivers that some node has, for a question.
func (c Cluster) Drivers() []string {
	nodes := c.nodes()
	out := slices.DeleteFunc(drivers(), func(d string) bool { return nodes.With(d) == 0 })
	if len(out) == 0 {
		return drivers()
	}
	return out
}

// NomadACLs reports whether the agents need rights in Nomad: also where that is not known.
func (c Cluster) NomadACLs() bool { return c.Nomad.ACLs.Value || c.Nomad.ACLs.Err != nil }

// ConsulACLs is the same in Consul.
func (c Cluster) ConsulACLs() bool { return c.Consul.ACLs.Value || c.Consul.ACLs.Err != nil }
