package setup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

// Fact is something that was found, in words.
type Fact struct {
	About string `json:"about"`
	What  string `json:"what"`
}

// notKnown is what is told of a fact that could not be read.
func notKnown(err error) string {
	if errors.Is(err, wadi.ErrForbidden) {
		return "not known (the token may not read it)"
	}
	return "not known (" + wadi.OneLine(err.Error(), maxError) + ")"
}

// maxError bounds an error's text, in characters.
const maxError = 150

// Found says what there is. All text from the cluster is on one line.
func Found(c Cluster) (out []Fact) {
	add := func(about string, parts ...string) {
		parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
		out = append(out, Fact{about, wadi.OneLine(strings.Join(parts, ", "), 200)})
	}
	add("Nomad", versions(c.Nomad.Servers), onOff("ACLs", c.Nomad.ACLs), names("namespaces", c.Nomad.Namespaces))
	nodes := c.nodes()
	if c.Nomad.Nodes.Err != nil {
		add("nodes", notKnown(c.Nomad.Nodes.Err))
	} else {
		count := fmt.Sprintf("%d", len(nodes.Ready))
		if nodes.More {
			count += " or more"
		}
		add("nodes", count+wadi.Plural(len(nodes.Ready), " takes", " take")+" jobs in the node pool "+c.pool(), joined("datacenters", nodes.Datacenters()), c.otherPools())
		var healthy []string
		for _, d := range drivers() {
			healthy = append(healthy, fmt.Sprintf("%s on %d", d, nodes.With(d)))
		}
		add("drivers", healthy...)
	}
	consul := c.Consul.Agent.Value
	if c.Consul.Agent.Err != nil {
		add("Consul", onOff("ACLs", c.Consul.ACLs), "version and datacenter "+notKnown(c.Consul.Agent.Err))
	} else {
		add("Consul", consul.Version, onOff("ACLs", c.Consul.ACLs), "datacenter "+consul.Datacenter)
	}
	add("mesh", meshFacts(c)...)
	return out
}

// otherPools says which node pools there are besides.
func (c Cluster) otherPools() string {
	return joined("other pools", slices.DeleteFunc(c.Nomad.Nodes.Value.Pools(), func(p string) bool { return p == c.pool() }))
}

func meshFacts(c Cluster) []string {
	connect := "Connect is off"
	switch {
	case c.Consul.Connect.Err != nil:
		connect = "Connect: " + notKnown(c.Consul.Connect.Err)
	case len(c.Consul.Connect.Value) > 0:
		connect = "Connect is on"
	}
	out := []string{connect}
	if c.Nomad.Nodes.Err == nil {
		out = append(out, fmt.Sprintf("%d of %d nodes have CNI plugins and Consul's gRPC", c.nodes().Meshes(), len(c.nodes().Ready)))
	}
	if envoys := c.Consul.Agent.Value.Envoys; len(envoys) > 0 {
		out = append(out, "Consul supports Envoy "+strings.Join(envoys, ", "))
	}
	return out
}

func versions(servers survey.Known[[]survey.Server]) string {
	if servers.Err != nil {
		return "version " + notKnown(servers.Err)
	}
	var out []string
	for _, s := range servers.Value {
		if !slices.Contains(out, s.Version) {
			out = append(out, s.Version)
		}
	}
	return strings.Join(out, " and ")
}

func onOff(what string, k survey.Known[bool]) string {
	switch {
	case k.Err != nil:
		return what + ": " + notKnown(k.Err)
	case k.Value:
		return what + " on"
	}
	return what + " off"
}

func names(what string, k survey.Known[[]string]) string {
	if k.Err != nil {
		return what + " " + notKnown(k.Err)
	}
	return joined(what, k.Value)
}

func joined(what string, all []string) string {
	if len(all) == 0 {
		return ""
	}
	rest := ""
	if len(all) > maxNamed {
		all, rest = all[:maxNamed], " …"
	}
	return what + " " + strings.Join(all, ", ") + rest
}

// maxNamed is how many names a fact has.
const maxNamed = 10
