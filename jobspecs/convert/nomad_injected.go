package convert

import "strings"

// injectedConstraints are the constraints that Nomad's servers add to a registered job for
// what it uses (job_endpoint_hooks.go in Nomad 1.11.3), and add again to the service's job:
// attribute, operator and value.
var injectedConstraints = map[[3]string]bool{
	{"${attr.consul.version}", "semver", ">= 1.8.0"}:   true,
	{"${attr.vault.version}", "semver", ">= 0.6.1"}:    true,
	{"${attr.nomad.service_discovery}", "=", "true"}:   true,
	{cniVersion + "bridge}", "semver", ">= 0.4.0"}:     true,
	{cniVersion + "firewall}", "semver", ">= 0.4.0"}:   true,
	{cniVersion + "host-local}", "semver", ">= 0.4.0"}: true,
	{cniVersion + "loopback}", "semver", ">= 0.4.0"}:   true,
	{cniVersion + "portmap}", "semver", ">= 0.4.0"}:    true,
}

const cniVersion = "${attr.plugins.cni.version."

// connectPrefix begins the names of the tasks, and of their ports, that Nomad's servers make
// of a connect block.
const connectPrefix = "connect-proxy-"

// dropInjected takes out of a registered job what Nomad's servers have added to it.
func dropInjected(job *node) {
	dropConstraints(job)
	groups := job.fields["TaskGroups"]
	if groups == nil {
		return
	}
	for _, g := range groups.list {
		dropConstraints(g)
		drop(g.fields["Tasks"], func(t *node) bool {
			dropConstraints(t)
			return strings.HasPrefix(t.textOf("Name"), connectPrefix) && strings.HasPrefix(t.textOf("Kind"), "connect-proxy:")
		})
		networks := g.fields["Networks"]
		if networks == nil {
			continue
		}
		for _, network := range networks.list {
			drop(network.fields["DynamicPorts"], func(p *node) bool { return strings.HasPrefix(p.textOf("Label"), connectPrefix) })
		}
	}
}

func dropConstraints(n *node) {
	drop(n.fields["Constraints"], func(c *node) bool {
		return injectedConstraints[[3]string{c.textOf("LTarget"), c.textOf("Operand"), c.textOf("RTarget")}]
	})
}

// drop takes out of an array, which may be missing, what isInjected reports.
func drop(array *node, isInjected func(*node) bool) {
	if array == nil {
		return
	}
	kept := array.list[:0]
	for _, e := range array.list {
		if !isInjected(e) {
			kept = append(kept, e)
		}
	}
	array.list = kept
}

// textOf is the text of a field, "" if there is none.
func (n *node) textOf(field string) string {
	if f := n.fields[field]; f != nil {
		return f.text()
	}
	return ""
}
