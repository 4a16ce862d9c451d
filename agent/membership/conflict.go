package membership

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/internal/consul"
)

// Location is where an agent runs. Its address alone does not identify it: every machine has
// a 127.0.0.1:4747.
type Location struct {
	Node    string // Of Consul; empty: not known.
	Machine string // See MachineID; empty: not known.
	HTTP    string // host:port of its API.
}

// differs reports whether a registration with our name is of an agent at another location.
// An earlier run of this agent had the same location.
func (l Location) differs(a consul.Instance) bool {
	machine := a.Meta[consul.MetaMachine] // Earlier versions don't set it.
	return l.Node != "" && a.Node != l.Node || a.Meta[consul.MetaHTTP] != l.HTTP || machine != "" && l.Machine != "" && machine != l.Machine
}

// JoinConflict says which of the agents that are alive hinders this one, at own, from
// joining; empty: none does. Two agents of one name would overwrite each other's
// registration, and take the lock from each other. Two installations in one datacenter
// would get each other's requests, and have the same jobs and names in the mesh.
func (m *Members) JoinConflict(alive []consul.Instance, own Location) string {
	for _, a := range alive {
		if consul.AgentName(a.ID) == m.self.Name && own.differs(a) {
			return fmt.Sprintf("an agent named %q is alive on node %s, with its API at %s: give this one another name (name, or -name)", m.self.Name, a.Node, a.Meta[consul.MetaHTTP])
		}
	}
	_, foreign := byPrefix(alive, m.self.Prefix)
	return foreignConflict(foreign, m.self.Name, m.self.Prefix)
}

// foreignConflict says which of another installation's agents is alive; empty: none is. A
// registration with this agent's own name is an earlier run's, and is replaced.
func foreignConflict(foreign []consul.Instance, name, prefix string) string {
	for _, a := range foreign {
		if consul.AgentName(a.ID) != name {
			return fmt.Sprintf("agent %q at %s belongs to another installation of Wadi in this datacenter of Consul, with the prefix %q and not %q: there can be one; give both the same consul.prefix, or this one a Consul of its own",
				consul.AgentName(a.ID), a.Meta[consul.MetaHTTP], a.Meta[consul.MetaPrefix], prefix)
		}
	}
	return ""
}

// byPrefix splits agents into those of the installation with a prefix and the rest. Older
// agents do not register their prefix, and count as managed.
func byPrefix(all []consul.Instance, prefix string) (managed, foreign []consul.Instance) {
	for _, a := range all {
		if p, set := a.Meta[consul.MetaPrefix]; set && p != prefix {
			foreign = append(foreign, a)
		} else {
			managed = append(managed, a)
		}
	}
	return managed, foreign
}

// Lists reports whether a registration is among those that Consul lists.
func Lists(all []consul.Instance, p *consul.Presence) bool {
	return slices.ContainsFunc(all, func(i consul.Instance) bool { return i.ID == p.Service.ID })
}

// MachineID is the same for all processes that share a loopback interface: it is made of
// the kernel's boot and the network namespace. It is empty where these can't be read.
func MachineID() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	ns, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + ns
}
