package agent

import (
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/admin"
)

// admin is the admin plane of the agent. The API's server admits loopback callers, and
// callers whose Nomad token may administer Nomad's agents.
func (a *Agent) admin() http.Handler {
	return admin.Handler(admin.Plane{
		Drain: a.drainer.Begin, Draining: a.drainer.HasBegun, Drained: a.drainer.wait,
		Note: "a drain can't be undone: until it is restarted, this agent serves no requests and does not lead",
		Dump: func() any { return a.dump() }, Log: a.log,
	})
}

// dump shows what this agent knows: routes, instances, jobs, and requests that are in flight
// or waiting.
func (a *Agent) dump() map[string]any {
	type revision struct {
		Instances []wadi.Endpoint `json:"instances"`
		Diagnosis string          `json:"diagnosis,omitempty"`
		Job       any             `json:"job"`
	}
	cluster := controlCluster{a.watcher}
	revisions := map[string]revision{}
	routes := map[string]wadi.Route{}
	for name, route := range a.routing.all() {
		routes[name] = route.WithoutProofs()
		for id := range route.Revisions {
			eps, _ := cluster.Endpoints(route.Namespace, id)
			why := cluster.Diagnosis(route.Namespace, id).Reason
			revisions[id] = revision{eps, why, cluster.Job(route.Namespace, id)}
		}
	}
	leader, _ := a.leadership.Leader()
	return map[string]any{
		"name": a.cfg.Name, "leader": leader, "problems": a.health.problems(), "last_contact_nomad": a.watcher.LastContact().UTC().Format(time.RFC3339Nano),
		"agents": a.members.Alive(), "routes": routes, "revisions": revisions, "requests": a.activator.Snapshot(),
	}
}
