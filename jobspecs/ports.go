package jobspecs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// An instance may have its own ports beside Wadi's. Everything else of its network is
// Wadi's.

// maxPorts bounds the ports of an instance.
const maxPorts = 32

func notInNetwork(name string) string {
	if name == "mode" {
		return "Wadi sets the mode; use the service's network setting"
	}
	return "Wadi makes the network; only ports may stand here: port \"admin\" { to = 9000 }"
}

const notTwoNetworks = "an instance has one network; put all ports in one block"

// network finds settings other than ports in a network block.
func (c *checker) network(b *hclsyntax.Block) {
	const path = "instance.network"
	if c.networks++; c.networks > 1 {
		c.add(b.DefRange(), path, notTwoNetworks)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Body.Attributes)) {
		c.attribute(b.Body, name, path, notInNetwork(name))
	}
	for _, inner := range b.Body.Blocks {
		if inner.Type != "port" && inner.Type != "dynamic" {
			c.add(inner.DefRange(), join(path, inner.Type), notInNetwork(inner.Type))
		}
	}
}

// networks checks the network blocks as Nomad's parser returned them.
func (f *groupChecker) networks(raw []any, parsed []*api.NetworkResource) {
	const path = "instance.network"
	if len(raw) > 1 {
		f.add(path, notTwoNetworks)
	}
	for _, n := range raw {
		network, _ := n.(object)
		for _, key := range slices.Sorted(maps.Keys(network)) {
			if key != keyStatic && key != keyDynamic && !isZero(network[key]) {
				name := strings.ToLower(key)
				f.add(join(path, name), notInNetwork(name))
			}
		}
	}
	count := 0
	for _, n := range parsed {
		if n == nil {
			continue
		}
		for _, p := range n.ReservedPorts {
			f.port(p, p.Value)
		}
		for _, p := range n.DynamicPorts {
			f.port(p, 0)
		}
		count += len(n.ReservedPorts) + len(n.DynamicPorts)
	}
	if count > maxPorts {
		f.add(path, fmt.Sprintf("at most %d ports are allowed, got %d", maxPorts, count))
	}
}

// The two kinds of ports in Nomad's jobs.
const (
	keyStatic  = "ReservedPorts"
	keyDynamic = "DynamicPorts"
)

// port checks one port; static is its number on the node, 0 if Nomad chooses one.
func (f *groupChecker) port(p api.Port, static int) {
	path := "instance.network.port." + p.Label
	if strings.HasPrefix(p.Label, "wadi_") || strings.HasPrefix(p.Label, "connect-proxy-") {
		f.add(path, fmt.Sprintf("the label %q is reserved for Wadi's own ports; use another one", p.Label))
	}
	s := f.draft.Service
	if s.Network == wadi.Bridge {
		inside := p.To
		if inside <= 0 {
			inside = static
		}
		switch use := reservedPort(inside); {
		case use != "":
			f.add(path, fmt.Sprintf("%d inside the instance is reserved for %s; use another port", inside, use))
		case inside == s.Port:
			f.add(path, fmt.Sprintf("%d is where the app serves requests, which go through the queue-proxy alone; let the app listen on another port for this one", inside))
		}
	}
	if static > 0 {
		f.warn(path, fmt.Sprintf("with the static port %d a node has room for one instance, and a next revision can't start there before this one has ended; leave out static unless callers need the number", static))
	}
}

// withPorts adds the user's ports to the network that Wadi makes, as the parser wrote
// them.
func withPorts(networks any, user any) {
	all, _ := networks.([]any)
	fromUser, _ := user.([]any)
	if len(all) == 0 || len(fromUser) == 0 {
		return
	}
	network, _ := all[0].(object)
	from, _ := fromUser[0].(object)
	for _, key := range []string{keyStatic, keyDynamic} {
		if more, _ := from[key].([]any); len(more) > 0 {
			own, _ := network[key].([]any)
			network[key] = append(own, more...)
		}
	}
}
