package setup

import (
	"fmt"

	"github.com/wadi-run/wadi/internal/policies"
)

// Step is something to do next.
type Step struct {
	What    string `json:"what"`
	Command string `json:"command,omitempty"` // In the folder of the files; empty: it is no command.
}

// agentsJob is the job of the agents, as its file names it.
const (
	agentsJob       = "wadi"
	agentsNamespace = "default"
)

// Steps are what brings the installation up with the files.
func Steps(c Cluster, choice Choice) (out []Step) {
	add := func(what string, commands ...string) {
		for _, command := range commands {
			out = append(out, Step{what, command})
			what = ""
		}
	}
	work := policies.Workload{Namespace: agentsNamespace, Job: agentsJob}
	if c.NomadACLs() && choice.RunsAs == AsJob {
		add("Let the agents' job into Nomad", work.NomadCommands(NomadPolicyFile)...)
	} else if c.NomadACLs() {
		add("Make the agents' token in Nomad: its secret is their NOMAD_TOKEN",
			"nomad acl policy apply wadi "+NomadPolicyFile, "nomad acl token create -name wadi -type client -policy wadi")
	}
	if c.ConsulACLs() && choice.RunsAs == AsJob {
		add("Let Nomad's workloads into Consul, if nobody did it for this cluster", "nomad setup consul")
		add("Let the agents' job into Consul", work.ConsulCommands(ConsulPolicyFile)...)
	} else if c.ConsulACLs() {
		add("Make the agents' token in Consul: its secret is their CONSUL_HTTP_TOKEN",
			"consul acl policy create -name wadi -rules @"+ConsulPolicyFile, "consul acl token create -description wadi -policy-name wadi")
	}
	switch {
	case !choice.nodesRunPrograms():
	case choice.Release == "":
		add("Put the programs on each node: name the release archive", "nomad job run -var release=URL "+NodesJobFile)
	default:
		add("Put the programs on each node", "nomad job run "+NodesJobFile)
	}
	if choice.RunsAs == AsJob {
		add("Start the agents", "nomad job run "+AgentsJobFile)
	} else {
		add("Start an agent on each machine that shall have one", fmt.Sprintf("wadi agent -config %s", ConfigFile))
	}
	add("See whether all is well, where an agent runs", "wadi doctor")
	return out
}
