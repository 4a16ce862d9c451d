// Package policies holds the least ACL policies of the tokens with which Wadi's agents use
// Nomad and Consul.
//
// It promises that each right says what does not work without it. Nothing else in Wadi
// spells a rule: "wadi doctor -policies" prints them, the doctor's remedies quote them, and
// end-to-end tests grant them. It asks no cluster, and judges no token.
package policies

import (
	"fmt"

	"github.com/wadi-run/wadi"
)

// Everywhere stands for all of Nomad's namespaces.
const Everywhere = "*"

// DefaultPrefix is that of Wadi's keys in Consul, if the agents' configuration has no other.
const DefaultPrefix = "wadi/"

// Options say what an installation uses. The zero value has rights in no namespace.
type Options struct {
	Prefix     string   // Of the keys in Consul; ends in a slash.
	Namespaces []string // Nomad's, with services; may be patterns, such as Everywhere.
	Intentions bool     // Services may have an intentions block.

	HostVolumes []string // Nomad's, that services mount.
}

// Nomad is the policy of the agents' token in Nomad.
func Nomad(o Options) Policy {
	var p Policy
	for _, ns := range o.Namespaces {
		p = append(p, Namespace(ns))
	}
	for _, volume := range o.HostVolumes {
		p = append(p, HostVolume(volume))
	}
	return append(p, Nodes())
}

// Consul is the policy of the agents' token in Consul.
func Consul(o Options) Policy {
	return Policy{Keys(o.Prefix), Sessions(), ConsulNodes(), ConsulAgents(), Services(o.Intentions)}
}

// Namespace has the rights to the jobs of a namespace of Nomad.
func Namespace(name string) Rule {
	return Rule{Resource: fmt.Sprintf("namespace %q", name), List: "capabilities", Rights: []Right{
		{Access: "submit-job", Without: "no request wakes an instance here, and no job is scaled, put back or removed"},
		{Access: "read-job", Without: "instances and events are not seen: services here are neither kept up nor scaled"},
		{Access: "list-jobs", Without: "jobs are not seen when an agent begins: services here are neither kept up nor scaled"},
	}}
}

// HostVolume has the right to run jobs that mount a volume of the host.
func HostVolume(name string) Rule {
	return policy(fmt.Sprintf("host_volume %q", name), "write", "a job that mounts it is not put back, should it be lost or edited")
}

// Nodes has the rights to Nomad's nodes.
func Nodes() Rule {
	return policy("node", "read", "a drained node is noticed only when its instances move; versions of servers are not known")
}

// Keys has the rights to what is stored in Consul.
func Keys(prefix string) Rule {
	return policy(fmt.Sprintf("key_prefix %q", prefix), "write", "nothing can be stored or read: an agent does not become ready")
}

// Sessions has the right to take the lock of the leader. A session belongs to a node, and
// agents are on any node.
func Sessions() Rule {
	return policy(`session_prefix ""`, "write", "no agent can lead: nothing is reconciled or scaled")
}

// ConsulNodes has the right to see what runs on Consul's nodes.
func ConsulNodes() Rule {
	return policy(`node_prefix ""`, "read", "agents don't see each other, and nothing goes to zero")
}

// ConsulAgents has the right to ask Consul's agent about itself.
func ConsulAgents() Rule {
	return policy(`agent_prefix ""`, "read", "the default of intentions counts as deny, and an agent needs advertise in its configuration")
}

// Services has the rights to all services in Consul, the agents' own included.
func Services(intentions bool) Rule {
	r := policy(`service_prefix ""`, "write",
		"no agent can register or lead, the gateway has no certificate, and the mesh gets no routes")
	return r.with(intentions)
}

// OwnServices has the rights to the names of the agents alone, which all begin with that of
// their service. It is a part of Services.
func OwnServices() Rule {
	return policy(fmt.Sprintf("service_prefix %q", wadi.ServiceAgent), "write",
		"no agent can register or lead, the gateway has no certificate, and nothing in the mesh is woken")
}

// Service has the rights to one service, for a token that has OwnServices in place of
// Services.
func Service(name string, intentions bool) Rule {
	r := policy(fmt.Sprintf("service %q", name), "write", "its routes in the mesh can't be written")
	return r.with(intentions)
}

// ReadIntentions has the right to see who may call services. It is a part of Services.
func ReadIntentions() Rule {
	const without = "no caller may call through an activator or the gateway"
	return Rule{Resource: `service_prefix ""`, Rights: []Right{
		{Name: "policy", Access: "read", Without: without},
		{Name: "intentions", Access: "read", Without: without},
	}}
}

// with adds the right to write intentions to a rule for services.
func (r Rule) with(intentions bool) Rule {
	if intentions {
		r.Rights = append(r.Rights, Right{Name: "intentions", Access: "write",
			Without: "intentions of services are not written: their status says so"})
	}
	return r
}

// policy is a rule with a level of access alone.
func policy(resource, access, without string) Rule {
	return Rule{Resource: resource, Rights: []Right{{Name: "policy", Access: access, Without: without}}}
}
