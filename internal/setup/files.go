package setup

import (
	"fmt"
	"maps"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi/internal/policies"
	"github.com/wadi-run/wadi/internal/survey"
	"github.com/wadi-run/wadi/jobspecs/system"
)

// The names of the files.
const (
	ConfigFile       = system.Config
	NomadPolicyFile  = "nomad-policy.hcl"
	ConsulPolicyFile = "consul-policy.hcl"
	AgentsJobFile    = system.Agents
	NodesJobFile     = system.Nodes
)

// File is one file of an installation.
type File struct {
	Name, Text string
	What       string // It, in a few words.
}

// Files makes all files.
func Files(c Cluster, choice Choice) ([]File, error) {
	out := []File{{Name: ConfigFile, What: "the agents' configuration", Text: configText(c, choice)}}
	o := policies.Options{Prefix: choice.Prefix, Namespaces: choice.Namespaces, Intentions: true}
	if c.NomadACLs() {
		out = append(out, File{Name: NomadPolicyFile, What: "the agents' policy in Nomad", Text: policies.Nomad(o).HCL()})
	}
	if c.ConsulACLs() {
		out = append(out, File{Name: ConsulPolicyFile, What: "the agents' policy in Consul", Text: policies.Consul(o).HCL()})
	}
	jobs, err := jobFiles(c, choice)
	return append(out, jobs...), err
}

// jobFiles are Nomad's jobs: that of the agents, and that which puts the programs on each
// node.
func jobFiles(c Cluster, choice Choice) (out []File, err error) {
	shared := map[string]cty.Value{"bin": cty.StringVal(choice.Bin)}
	if pool := c.pool(); pool != defaultPool {
		shared["node_pool"] = cty.StringVal(pool)
	}
	if choice.Release != "" {
		shared["release"] = cty.StringVal(choice.Release)
	}
	if choice.Checksum != "" {
		shared["checksum"] = cty.StringVal(choice.Checksum)
	}
	agents := maps.Clone(shared)
	if driver := agentsDriver(c.nodes()); driver != "raw_exec" {
		agents["driver"] = cty.StringVal(driver)
	}
	// A node's Nomad and its Wadi use the same Consul. A server's may be another.
	if agent := c.Nomad.Agent.Value; agent.Client && agent.Consul != "" && agent.Consul != nomadsDefaultConsul {
		agents["consul_address"] = cty.StringVal(agent.Consul)
	}
	if strings.HasPrefix(choice.Nomad.Address, "https:") {
		agents["nomad_address"] = cty.StringVal(taskSocket)
	}
	type job struct {
		name, what string
		values     map[string]cty.Value
	}
	var jobs []job
	if choice.nodesRunPrograms() {
		jobs = append(jobs, job{NodesJobFile, "the Nomad job that puts the programs on each node", shared})
	}
	if choice.RunsAs == AsJob {
		jobs = append(jobs, job{AgentsJobFile, "the Nomad job of the agents", agents})
	}
	for _, j := range jobs {
		text, err := system.Fill(j.name, j.values)
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", j.name, err)
		}
		out = append(out, File{Name: j.name, What: j.what, Text: string(text)})
	}
	return out, nil
}

// nodesRunPrograms reports whether nodes need Wadi's programs: not where queue-proxy is an image,
// or is fetched, and agents are no job. The job of agents can fetch their own.
func (c Choice) nodesRunPrograms() bool {
	if c.fetches() {
		return c.RunsAs == AsJob && c.Release == ""
	}
	return c.Driver != "docker" || c.RunsAs == AsJob
}

// fetches reports whether nodes fetch the queue-proxy.
func (c Choice) fetches() bool { return c.Fetch && c.Driver != "docker" }

// agentsDriver is the driver of agents in a job.
func agentsDriver(nodes survey.Nodes) string {
	if nodes.With("raw_exec") < nodes.With("exec") {
		return "exec"
	}
	return "raw_exec"
}

// nomadsDefaultConsul is what Nomad says where no Consul is configured; the job has the same.
const nomadsDefaultConsul = "http://localhost:8500"

// taskSocket is a task's own way to Nomad, which needs no certificate.
const taskSocket = "unix://${NOMAD_SECRETS_DIR}/api.sock"
