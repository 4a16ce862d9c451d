package doctor

import (
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

const aboutNodesOf = "nodes"

// aboutNodes judges whether instances can run on the nodes of the node pool and the datacenters
// that services are in unless they say otherwise. The report names no node:
// remedies have the command that lists them.
func aboutNodes(known survey.Known[survey.Nodes], needs Needs) []wadi.Finding {
	switch {
	case known.Refused():
		return nil // A missing right has a finding of its own.
	case known.Err != nil:
		return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutNodesOf, What: "they can't be read: " + known.Err.Error(), Remedy: "ask again; Nomad's log says more"}}
	}
	c := &nodesCheck{nodes: known.Value.In(needs.Pool, needs.In...), pool: needs.where()}
	if len(c.nodes.Ready) == 0 {
		return []wadi.Finding{{Level: wadi.LevelFail, About: aboutNodesOf,
			What:   fmt.Sprintf("no node in the node pool %s takes jobs, so no instance can start", c.pool),
			Remedy: "start a Nomad client, or make one eligible: nomad node status shows which are down, drained or ineligible; or set node_pool and datacenters in the defaults of the agents' configuration"}}
	}
	if needs.QueueProxy != "" {
		c.driver(needs.QueueProxy, "queue_proxy", "the queue-proxy")
	}
	if needs.Mesh && needs.Sidecar.Driver != needs.QueueProxy {
		c.driver(needs.Sidecar.Driver, "mesh.sidecar_task", "Envoy in the mesh")
	}
	if needs.Bridge {
		c.lacking(len(c.nodes.WithoutPlugins), "lack CNI plugins, without which there are no bridge networks ("+strings.Join(survey.Plugins(), ", ")+")",
			"install them there, in client { cni_path }, and restart Nomad; or run services with network = \"host\" and mesh = \"off\". They are: "+listed(survey.WithoutPlugins()))
	}
	if needs.Mesh {
		c.lacking(len(c.nodes.WithoutConsul), "have no Consul with Connect and gRPC, without which Envoy gets no configuration",
			"run a Consul agent there with connect { enabled = true } and ports { grpc = 8502 }, and give Nomad its consul { address grpc_address }. They are: "+listed(survey.WithoutConsul))
	}
	if count := len(c.nodes.Ready); len(c.found) == 0 {
		return []wadi.Finding{{Level: wadi.LevelOK, About: aboutNodesOf,
			What: fmt.Sprintf("%d in the node pool %s %s what services need", count, c.pool, wadi.Plural(count, "takes jobs, and has", "take jobs, and have"))}}
	}
	return c.found
}

// nodesCheck collects what nodes lack.
type nodesCheck struct {
	nodes survey.Nodes
	pool  string
	found []wadi.Finding
}

// lacking notes that so many nodes lack something.
func (c *nodesCheck) lacking(missing int, what, remedy string) {
	count := len(c.nodes.Ready)
	if missing == 0 {
		return
	}
	f := wadi.Finding{Level: wadi.LevelWarn, About: aboutNodesOf, Remedy: remedy,
		What: fmt.Sprintf("%d of the %d in the node pool %s that take jobs %s: no instance starts there", missing, count, c.pool, what)}
	if missing >= count {
		f.Level = wadi.LevelFail
		f.What = fmt.Sprintf("all %d in the node pool %s that take jobs %s: no instance can start", count, c.pool, what)
	}
	c.found = append(c.found, f)
}

// driver notes on how many nodes a driver is not healthy.
func (c *nodesCheck) driver(name, setting, user string) {
	what := fmt.Sprintf("have no healthy driver %s, which runs %s (%s)", name, user, setting)
	if why := c.nodes.WhyNot(name); why != "" {
		what += ": " + wadi.OneLine(why, maxWhy)
	}
	c.lacking(len(c.nodes.Ready)-c.nodes.With(name), what,
		fmt.Sprintf("mend the driver there (nomad node status -verbose NODE shows it), or configure %s with another one", setting))
}

// maxWhy bounds a node's own words, in characters.
const maxWhy = 100

// listed is the command that lists nodes.
func listed(filter string) string { return fmt.Sprintf("nomad node status -filter '%s'", filter) }

// aboutNomadClients looks for nodes with a newer Nomad than a server, which Nomad does not
// support.
func aboutNomadClients(n survey.Nomad) []wadi.Finding {
	oldest := ""
	for _, s := range n.Servers.Value {
		if oldest == "" || survey.Newer(oldest, s.Version) {
			oldest = s.Version
		}
	}
	count := 0
	for _, node := range n.Nodes.Value.Ready {
		if oldest != "" && survey.Newer(node.Version, oldest) {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutNodesOf,
		What:   fmt.Sprintf("%s a newer Nomad than a server, which has %s: Nomad supports only older ones", wadi.Quantity(count, "node")+wadi.Plural(count, " has", " have"), oldest),
		Remedy: "upgrade Nomad's servers before its clients"}}
}

// aboutKillTimeout compares how long an instance may drain with the bound of the Nomad client
// at the agent's own address. Others show theirs only when they end an instance: services'
// status says so.
func aboutKillTimeout(agent survey.Known[survey.NomadAgent], needs Needs) []wadi.Finding {
	bound := agent.Value.MaxKillTimeout
	if agent.Err != nil || bound == 0 || needs.Drain <= bound {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutNomad,
		What: fmt.Sprintf("the client at this agent's nomad.address ends every task after %v, though an instance may drain for %v: "+
			"longer requests are cut when a node is drained, a job stopped or a service deleted", bound, needs.Drain),
		Remedy: fmt.Sprintf("set client { max_kill_timeout = \"%v\" } in the configuration of every Nomad client, or lower timeout.request of the services", needs.Drain)}}
}
