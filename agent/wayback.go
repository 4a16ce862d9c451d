package agent

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// healthy counts the instances of Wadi's own services that Consul lists as healthy.
type healthy struct {
	mu sync.Mutex
	n  map[string]int
}

func (h *healthy) set(service string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := maps.Clone(h.n)
	if next == nil {
		next = map[string]int{}
	}
	next[service] = n
	h.n = next
}

func (h *healthy) all() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// watchActivators keeps count of the activators under one of their names, until ctx ends.
func (a *Agent) watchActivators(service string) func(context.Context) error {
	return func(ctx context.Context) error {
		return a.consul.WatchServices(ctx, service, func(all []consul.Instance) {
			a.healthy.set(service, len(all))
		}, a.quiet("activators"))
	}
}

// wayBack reports whether somebody would take in a request for a service at zero:
// from outside a gateway, which every agent has, and from the mesh an activator of the
// service's protocol, to which its route fails over. An agent has that later than
// its gateway, once it has certificates.
func wayBack(r wadi.Route, healthy map[string]int) (ok bool, why string) {
	if healthy[wadi.ServiceAgent] == 0 {
		return false, "no agent is registered and healthy in Consul"
	}
	if to := wadi.ActivatorOf(r.Protocol); r.Mesh == wadi.MeshEnvoy && healthy[to] == 0 {
		return false, fmt.Sprintf("no %s, to which callers in the mesh are led, is registered and healthy in Consul", to)
	}
	return true, ""
}
