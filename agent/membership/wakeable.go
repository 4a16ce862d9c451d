package membership

import (
	"fmt"

	"github.com/wadi-run/wadi"
)

// SetHealthy sets how many instances of one of Wadi's own services are healthy in Consul.
func (m *Members) SetHealthy(service string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.healthy[service] = n
}

// Wakeable reports whether a request would reach an activator while a service is at zero,
// and why not. From outside it comes through a gateway, which every agent has. From the
// mesh it comes through the activator of the service's protocol, to which the service's
// route fails over; an agent registers that once it has certificates, later than its
// gateway.
func (m *Members) Wakeable(r wadi.Route) (ok bool, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.healthy[wadi.ServiceAgent] == 0 {
		why = "no agent is registered and healthy in Consul"
	} else if to := wadi.ActivatorOf(r.Protocol); r.Mesh == wadi.MeshEnvoy && m.healthy[to] == 0 {
		why = fmt.Sprintf("no %s, to which the mesh sends callers, is registered and healthy in Consul", to)
	}
	if why != "" && m.Unlisted() {
		why += ", not even this one, which is registered: wadi doctor says which right its token may lack"
	}
	return why == "", why
}
