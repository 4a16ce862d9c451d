package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
)

// needed is a right that the agent's own token should have, what is amiss without it,
// and the policy that gives it.
type needed struct {
	consul.Right
	level   wadi.Level
	without string
	policy  string
}

// maxProbed bounds the services, and the namespaces, whose rights one report looks at.
const maxProbed = 32

// consulRights are the rights that the agent's own token should have in Consul, besides
// that to keys, which checkConsul uses. node is that of Consul's agent; empty: it is not known.
func consulRights(node string) []needed {
	write := func(resource, segment, without, policy string) needed {
		return needed{consul.Right{Resource: resource, Segment: segment, Access: "write"}, wadi.LevelFail, without, policy}
	}
	const ownServices = `service_prefix "wadi" { policy = "write" }`
	all := []needed{
		write("service", wadi.ServiceAgent, "this agent can't be registered, and can't lead", ownServices),
		write("service", wadi.ServiceGateway, "the gateway has no certificate of the mesh", ownServices),
	}
	for _, name := range wadi.Activators() {
		all = append(all, write("service", name, "nothing in the mesh can be woken", ownServices))
	}
	if node != "" {
		all = append(all,
			write("session", node, "this agent can't lead", `session_prefix "" { policy = "write" }`),
			needed{consul.Right{Resource: "node", Segment: node, Access: "read"}, wadi.LevelFail,
				"agents don't see each other, and nothing goes to zero", `node_prefix "" { policy = "read" }`},
			needed{consul.Right{Resource: "agent", Segment: node, Access: "read"}, wadi.LevelWarn,
				"the default of intentions is not known, and counts as deny", `agent_prefix "" { policy = "read" }`},
		)
	}
	return all
}

// serviceRights are the rights that it should have to services in the mesh.
func (a *Agent) serviceRights() (all []consul.Right) {
	routes := *a.routes.Load()
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		if inMesh(routes[name]) && len(all) < maxProbed {
			all = append(all, consul.Right{Resource: "service", Segment: name, Access: "write"})
		}
	}
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
func (a *Agent) checkConsulRights(ctx context.Context) []wadi.Finding {
	self, _ := a.members.Registration()
	node := ""
	if self != nil {
		node, _ = a.consul.NodeOf(ctx, self.CheckID()) // Without it fewer can be asked for.
	}
	all := consulRights(node)
	rights := a.serviceRights()
	for _, r := range all {
		rights = append(rights, r.Right)
	}
	lacking, err := a.consul.Lacks(ctx, rights)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutConsul, What: "what its token may can't be asked: " + err.Error()}}
	}
	var out []wadi.Finding
	for _, r := range all {
		if slices.Contains(lacking, r.Right) {
			out = append(out, wadi.Finding{Level: r.level, About: aboutConsul,
				What: fmt.Sprintf("the agent's token lacks %s: %s", r, r.without), Remedy: "give it " + r.policy})
		}
	}
	var names []string // Anybody may ask, who may not know of them.
	for _, r := range lacking {
		if _, ok := a.route(r.Segment); ok && r.Resource == "service" {
			names = append(names, r.Segment)
		}
	}
	if len(names) > 0 {
		a.log.Warn("the token lacks write on services", "services", names)
		out = append(out, wadi.Finding{Level: wadi.LevelFail, About: aboutConsul,
			What:   fmt.Sprintf("the agent's token lacks write on %s in the mesh, whose routes can't be written; its log names them", wadi.Quantity(len(names), "service")),
			Remedy: `give it for each, or with service_prefix "" for all, service "…" { policy = "write" intentions = "write" }`})
	}
	if f := a.checkListed(ctx); f != nil {
		out = append(out, *f)
	}
	return out
}

// listedWithin is how long Consul may take to list a registration that it has taken.
const listedWithin = 2 * time.Second

// checkListed looks for this agent where others look for it. A token that may not read
// its node sees nothing there, and is told nothing of it.
func (a *Agent) checkListed(ctx context.Context) *wadi.Finding {
	self, ok := a.members.Registration()
	if !ok {
		return nil // It is not registered, which is told elsewhere.
	}
	for began := time.Now(); ; sleep(ctx, 250*time.Millisecond) {
		all, err := a.consul.Services(ctx, wadi.ServiceAgent)
		switch {
		case err != nil:
			return &wadi.Finding{Level: wadi.LevelFail, About: aboutConsul, What: "agents can't be looked up: " + err.Error()}
		case membership.Lists(all, self):
			return nil
		case ctx.Err() != nil || time.Since(began) > listedWithin:
			return &wadi.Finding{Level: wadi.LevelFail, About: aboutConsul,
				What:   "it has registered this agent and does not list it: agents don't see each other, and nothing goes to zero",
				Remedy: `give the agent's token node_prefix "" { policy = "read" } and service_prefix "wadi" { policy = "write" }`}
		}
	}
}

// checkNomadRights asks Nomad for each right in each namespace that services are in.
func (a *Agent) checkNomadRights(ctx context.Context) []wadi.Finding {
	namespaces, _ := a.namespaces()
	slices.Sort(namespaces)
	namespaces = namespaces[:min(len(namespaces), maxProbed)]
	probes := []struct {
		capability, without string
		ask                 func(ctx context.Context, token, namespace string) error
	}{
		{"submit-job", "nothing is put back, scaled or removed", a.nomad.MaySubmit},
		{"read-job", "instances are not seen", a.nomad.MayRead},
		{"list-jobs", "jobs are not seen", a.nomad.MayList},
	}
	found := make([]*wadi.Finding, len(namespaces)*len(probes))
	var wg sync.WaitGroup
	for i, ns := range namespaces {
		for j, p := range probes {
			wg.Go(func() {
				err := p.ask(ctx, a.nomad.Token(), ns)
				if errors.Is(err, wadi.ErrForbidden) {
					found[i*len(probes)+j] = &wadi.Finding{Level: wadi.LevelFail, About: aboutNomad,
						What:   fmt.Sprintf("the agent's token lacks %s in the namespace %q: %s", p.capability, ns, p.without),
						Remedy: "give it " + namespacePolicy(ns)}
				}
			})
		}
	}
	var out []wadi.Finding
	if err := a.nomad.MayReadNodes(ctx, a.nomad.Token()); errors.Is(err, wadi.ErrForbidden) {
		out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: aboutNomad,
			What:   "the agent's token lacks node:read: which nodes are drained is not known ahead, nor which versions Nomad's servers have",
			Remedy: `give it node { policy = "read" }`})
	}
	wg.Wait()
	for _, f := range found {
		if f != nil {
			out = append(out, *f)
		}
	}
	return out
}

// namespacePolicy gives what the agent's own token should have in a Nomad namespace.
func namespacePolicy(namespace string) string {
	return fmt.Sprintf("namespace %q { capabilities = [\"submit-job\", \"read-job\", \"list-jobs\"] }", namespace)
}
