//go:build linux

package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/admin"
)

// admin is the admin plane of the agent. The API's server lets loopback callers
// in, and those whose Nomad token may administer Nomad's agents.
func (n *node) admin() http.Handler {
	return admin.Handler(admin.Plane{
		Drain: n.drain.Begin, Draining: n.drain.HasBegun, Drained: n.awaitDrained,
		Note: "a drain can't be undone: until it is restarted, this agent serves no requests and does not lead",
		Dump: func() any { return n.dump() }, Log: n.log,
	})
}

// dump shows what this agent knows: routes, instances, jobs and what is in
// flight or waiting.
func (n *node) dump() map[string]any {
	type revision struct {
		Instances []wadi.Endpoint `json:"instances"`
		Trouble   string          `json:"trouble,omitempty"`
		Job       any             `json:"job"`
	}
	cluster := loopCluster{n.watcher}
	revisions := map[string]revision{}
	routes := *n.routes.Load()
	for _, route := range routes {
		for id := range route.Revisions {
			eps, _ := cluster.Endpoints(route.Namespace, id)
			why, _ := cluster.Trouble(route.Namespace, id)
			revisions[id] = revision{eps, why, cluster.Job(route.Namespace, id)}
		}
	}
	leader, _ := n.Leader()
	return map[string]any{
		"name": n.cfg.Name, "leader": leader, "problems": n.problems(), "last_contact_nomad": n.watcher.LastContact().UTC().Format(time.RFC3339Nano),
		"agents": *n.agents.Load(), "routes": routes, "revisions": revisions, "requests": n.activator.Dump(),
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // The caller is gone if this fails.
}
