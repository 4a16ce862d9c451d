package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/policies"
)

// needed is a right that the agent's own token should have, what does not work without it,
// and the policy that gives it.
type needed struct {
	consul.Right
	level   wadi.Level
	without string
	policy  policies.Rule
}

const (
	listedWithin = 2 * time.Second // Consul may take this long to list a new registration.
	listedEvery  = 250 * time.Millisecond
)

// consulRights are the rights that the agent's own token should have in Consul, besides the
// right to keys, which checkConsul uses. node is the node of Consul's agent; empty: it is
// not known.
func consulRights(node string) []needed {
	write := func(resource, segment, without string, policy policies.Rule) needed {
		return needed{consul.Right{Resource: resource, Segment: segment, Access: "write"}, wadi.LevelFail, without, policy}
	}
	ownServices := policies.OwnServices()
	all := []needed{
		write("service", wadi.ServiceAgent, "this agent can't be registered, and can't lead", ownServices),
		write("service", wadi.ServiceGateway, "the gateway has no certificate of the mesh", ownServices),
	}
	for _, name := range wadi.Activators() {
		all = append(all, write("service", name, "nothing in the mesh can be woken", ownServices))
	}
	if node != "" {
		all = append(all,
			write("session", node, "this agent can't lead", policies.Sessions()),
			needed{consul.Right{Resource: "node", Segment: node, Access: "read"}, wadi.LevelFail,
				"agents don't see each other, and nothing goes to zero", policies.ConsulNodes()},
			needed{consul.Right{Resource: "agent", Segment: node, Access: "read"}, wadi.LevelWarn,
				"the default of intentions is not known, and counts as deny", policies.ConsulAgents()},
		)
	}
	return all
}

// The kinds of things in Consul that belong to services.
const (
	ofRoutes     = "service"
	ofIntentions = "intention"
)

// serviceRights are the rights that the token should have to services: to write the routes
// of those in the mesh, and the intentions of those that have some.
func (d *Doctor) serviceRights() (all []consul.Right) {
	routes := d.Routes()
	add := func(resource string, needs func(wadi.Route) bool) {
		n := 0
		for _, name := range slices.Sorted(maps.Keys(routes)) {
			if needs(routes[name]) && n < maxProbed {
				n++
				all = append(all, consul.Right{Resource: resource, Segment: name, Access: "write"})
			}
		}
	}
	add(ofRoutes, inMesh)
	add(ofIntentions, func(r wadi.Route) bool { return r.Intentions != nil })
	return all
}

func inMesh(r wadi.Route) bool {
	for _, rev := range r.Revisions {
		if rev.Mesh == wadi.MeshEnvoy {
			return true
		}
	}
	return false
}

// String is, for instance, `write on the service "wadi"`.
func (n needed) String() string {
	return fmt.Sprintf("%s on the %s %q", n.Access, n.Resource, n.Segment)
}

// checkConsulRights asks Consul for each right by itself, and whether it lists this agent.
func (d *Doctor) checkConsulRights(ctx context.Context) []wadi.Finding {
	out, err := d.consulRights(ctx)
	if err != nil {
		out = []wadi.Finding{{Level: wadi.LevelWarn, About: aboutConsul, What: "the rights of the agent's token can't be read: " + err.Error(), Remedy: askConsulAgain}}
	}
	if f := d.checkListed(ctx); f != nil {
		out = append(out, *f)
	}
	return out
}

// consulRights asks Consul for each right by itself, apart from that to keys.
func (d *Doctor) consulRights(ctx context.Context) (out []wadi.Finding, err error) {
	node := d.node(ctx)
	own, services := consulRights(node), d.serviceRights()
	rights := slices.Clone(services)
	for _, r := range own {
		rights = append(rights, r.Right)
	}
	lacking, err := d.Consul.Lacks(ctx, rights)
	if err != nil {
		return nil, err
	}
	for _, r := range own {
		if slices.Contains(lacking, r.Right) {
			out = append(out, wadi.Finding{Level: r.level, About: aboutConsul,
				What: fmt.Sprintf("the agent's token lacks %s: %s", r, r.without), Remedy: "give it " + r.policy.String()})
		}
	}
	return append(out, d.lackingServices(services, lacking)...), nil
}

// node is the node of Consul's agent; empty if neither the agent's registration nor Consul's
// agent itself may be read: rights to the node are not asked for then.
func (d *Doctor) node(ctx context.Context) (node string) {
	if self, _ := d.Members.Registration(); self != nil {
		node, _ = d.Consul.NodeOf(ctx, self.CheckID())
	}
	if node == "" {
		if self, err := d.Consul.Self(ctx); err == nil {
			node = self.Node
		}
	}
	return node
}

// lackingServices says to how many services each right is lacking, and logs them.
func (d *Doctor) lackingServices(services, lacking []consul.Right) (out []wadi.Finding) {
	for resource, what := range map[string]string{
		ofRoutes:     "write on %s in the mesh, whose routes can't be written; its log names them",
		ofIntentions: "write on the intentions of %s, which are not written; its log names them",
	} {
		var names []string
		for _, r := range lacking {
			if r.Resource == resource && slices.Contains(services, r) {
				names = append(names, r.Segment)
			}
		}
		if len(names) == 0 {
			continue
		}
		d.Log.Warn("the token lacks write on services", "resource", resource, "services", names)
		out = append(out, wadi.Finding{Level: wadi.LevelFail, About: aboutConsul,
			What:   "the agent's token lacks " + fmt.Sprintf(what, wadi.Quantity(len(names), "service")),
			Remedy: "give it for each, or with service_prefix \"\" for all, " + policies.Service("…", true).String()})
	}
	slices.SortFunc(out, func(a, b wadi.Finding) int { return strings.Compare(a.What, b.What) })
	return out
}

// checkListed looks whether Consul lists this agent, as other agents see it. A token that
// may not read its node gets a list without it, and no error.
func (d *Doctor) checkListed(ctx context.Context) *wadi.Finding {
	self, valid := d.Members.Registration()
	if !valid {
		return nil // A missing registration has findings of its own.
	}
	late := time.NewTimer(listedWithin)
	defer late.Stop()
	again := time.NewTicker(listedEvery)
	defer again.Stop()
	for {
		all, err := d.Consul.Services(ctx, wadi.ServiceAgent)
		switch {
		case err != nil:
			return &wadi.Finding{Level: wadi.LevelFail, About: aboutConsul, What: "agents can't be looked up: " + err.Error(), Remedy: askConsulAgain}
		case membership.Lists(all, self):
			return nil
		}
		select {
		case <-again.C:
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		return &wadi.Finding{Level: wadi.LevelFail, About: aboutConsul,
			What:   "it has registered this agent and does not list it: agents don't see each other, and nothing goes to zero",
			Remedy: fmt.Sprintf("give the agent's token %s and %s", policies.ConsulNodes(), policies.OwnServices())}
	}
}
