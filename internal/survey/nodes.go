package survey

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Plugins are the CNI plugins that Nomad's bridge networks need on a node.
func Plugins() []string { return []string{"bridge", "firewall", "host-local", "loopback", "portmap"} }

// TakesJobs is the filter of nodes that take jobs, as Nomad's command line and API have it.
const TakesJobs = `Status == "ready" and SchedulingEligibility == "eligible"`

// WithoutPlugins is the filter of nodes that take jobs, though none with a bridge network: one
// of the plugins is missing.
func WithoutPlugins() string {
	var each []string
	for _, p := range Plugins() {
		each = append(each, `"plugins.cni.version.`+p+`" not in Attributes`)
	}
	return TakesJobs + " and (" + strings.Join(each, " or ") + ")"
}

// WithoutConsul is the filter of nodes that take jobs, though none in the mesh: Nomad's client
// there knows no Consul, or one without gRPC or Connect.
const WithoutConsul = TakesJobs + ` and ("consul.grpc" not in Attributes or Attributes["consul.grpc"] == "-1" or ` +
	`"consul.connect" not in Attributes or Attributes["consul.connect"] != "true")`

// readNodes reads the nodes that take jobs. Nomad applies the filters, as its list has no
// attributes.
func readNodes(ctx context.Context, r Reader) Known[Nodes] {
	type stub struct {
		ID, Name, Datacenter, NodePool, Version string
		Drivers                                 map[string]*struct {
			Healthy           bool
			HealthDescription string
		}
	}
	list := func(filter string) Known[[]Node] {
		path := filtered("/v1/nodes", filter, "per_page", strconv.Itoa(MaxNodes+1))
		return ask(ctx, r, path, func(all []stub) (out []Node) {
			for _, n := range all {
				node := Node{ID: n.ID, Name: n.Name, Datacenter: n.Datacenter, Pool: n.NodePool, Version: n.Version, Drivers: map[string]Driver{}}
				for name, d := range n.Drivers {
					if d != nil {
						node.Drivers[name] = Driver{Healthy: d.Healthy, Why: d.HealthDescription}
					}
				}
				out = append(out, node)
			}
			return out
		})
	}
	var ready, bare, alone Known[[]Node]
	atOnce(
		func() { ready = list(TakesJobs) },
		func() { bare = list(WithoutPlugins()) },
		func() { alone = list(WithoutConsul) },
	)
	for _, each := range []Known[[]Node]{ready, bare, alone} {
		if each.Err != nil {
			return Known[Nodes]{Err: each.Err}
		}
	}
	out := Nodes{Ready: ready.Value, More: len(ready.Value) > MaxNodes, WithoutPlugins: ids(bare.Value), WithoutConsul: ids(alone.Value)}
	out.Ready = out.Ready[:min(len(out.Ready), MaxNodes)]
	return Known[Nodes]{Value: out}
}

func ids(all []Node) (out []string) {
	for _, n := range all {
		out = append(out, n.ID)
	}
	return out
}

// Datacenters are the datacenters of the nodes, sorted.
func (n Nodes) Datacenters() []string {
	return distinct(n.Ready, func(n Node) string { return n.Datacenter })
}

// Pools are the node pools of the nodes, sorted.
func (n Nodes) Pools() []string { return distinct(n.Ready, func(n Node) string { return n.Pool }) }

// In are the nodes of a node pool, and of datacenters if there are any; as in Nomad, "all" is
// every pool, and * in a datacenter is any text.
func (n Nodes) In(pool string, datacenters ...string) Nodes {
	out, there := Nodes{More: n.More}, anyOf(datacenters)
	for _, each := range n.Ready {
		if pool != "all" && each.Pool != pool || !there.MatchString(each.Datacenter) {
			continue
		}
		out.Ready = append(out.Ready, each)
		if slices.Contains(n.WithoutPlugins, each.ID) {
			out.WithoutPlugins = append(out.WithoutPlugins, each.ID)
		}
		if slices.Contains(n.WithoutConsul, each.ID) {
			out.WithoutConsul = append(out.WithoutConsul, each.ID)
		}
	}
	return out
}

// anyOf matches a text that is one of the patterns, in which * is any text; all if there is none.
func anyOf(patterns []string) *regexp.Regexp {
	each := make([]string, 0, len(patterns))
	for _, p := range patterns {
		each = append(each, strings.ReplaceAll(regexp.QuoteMeta(strings.ToValidUTF8(p, "?")), `\*`, ".*"))
	}
	if len(each) == 0 {
		return regexp.MustCompile("")
	}
	return regexp.MustCompile("(?s)^(?:" + strings.Join(each, "|") + ")$")
}

// With counts the nodes on which a driver is healthy.
func (n Nodes) With(driver string) (count int) {
	for _, each := range n.Ready {
		if each.Drivers[driver].Healthy {
			count++
		}
	}
	return count
}

// WhyNot is what the first node without a healthy driver says about it; empty: nothing.
func (n Nodes) WhyNot(driver string) string {
	for _, each := range n.Ready {
		if d := each.Drivers[driver]; !d.Healthy && d.Why != "" {
			return d.Why
		}
	}
	return ""
}

// Meshes reports how many nodes can run instances in the mesh.
func (n Nodes) Meshes() int {
	count := 0
	for _, each := range n.Ready {
		if !slices.Contains(n.WithoutPlugins, each.ID) && !slices.Contains(n.WithoutConsul, each.ID) {
			count++
		}
	}
	return count
}

func distinct(all []Node, of func(Node) string) (out []string) {
	for _, n := range all {
		if v := of(n); v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}
