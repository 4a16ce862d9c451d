package agent

import (
	"context"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/doctor"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/nomad"
)

// health is what keeps an agent from being healthy.
type health struct {
	startup    *startup
	members    *membership.Members
	drainer    *drainer
	leadership *leadership
	watcher    *nomad.Watcher
}

// problems are what keeps the agent from being healthy, as text.
func (h *health) problems() []string {
	var out []string
	for _, f := range h.findings() {
		out = append(out, f.What)
	}
	return out
}

// findings are the problems as findings. Load balancers ask for them every second or so:
// nothing here needs a connection.
func (h *health) findings() []wadi.Finding {
	var out []wadi.Finding
	add := func(level wadi.Level, what, remedy string) {
		out = append(out, wadi.Finding{Level: level, About: "agent", What: what, Remedy: remedy})
	}
	waits := h.startup.waitsFor()
	if waits != "" {
		add(wadi.LevelFail, waits, "")
	}
	if why := h.members.Conflict(); why != "" {
		add(wadi.LevelFail, why, "")
	}
	if h.drainer.HasBegun() {
		add(wadi.LevelWarn, "draining: it takes no more requests", "restart it, or stop it")
	}
	if leader, _ := h.leadership.Leader(); leader == "" && waits == "" {
		add(wadi.LevelFail, "no agent leads: nothing is reconciled or scaled, requests are served and wake", "")
	}
	if !h.watcher.Up() {
		add(wadi.LevelFail, "Nomad's event stream is down", "")
	}
	return out
}

// unready says why no caller should be sent to this agent; empty: it takes requests. Without
// a leader or Nomad it does: what is warm is served. The text names no address.
func (h *health) unready() string {
	switch {
	case h.drainer.HasBegun():
		return "draining"
	case h.members.Conflict() != "":
		return "another agent has its name, or another prefix of keys"
	case h.startup.waitsFor() != "":
		return "starting"
	}
	return ""
}

// openDoctor makes what examines this agent.
func (a *Agent) openDoctor(ctx context.Context) error {
	a.health = &health{a.startup, a.members, a.drainer, a.leadership, a.watcher}
	a.doctor = &doctor.Doctor{
		Name: a.cfg.Name, Version: a.deps.Version, GatewayDomain: func() string { return a.inForce().Gateway.Domain }, Prefix: a.cfg.Consul.Prefix,
		ConsulAddress: a.cfg.Consul.Address, NomadAddress: a.cfg.Nomad.Address,
		Consul: a.consul, Nomad: a.nomad, Store: a.store, Members: a.members, Log: a.log,
		Routes:     a.routing.all,
		Namespaces: a.routing.namespaces, Unwatched: a.watcher.Unwatched, Hidden: a.guard.Hidden, Problems: a.health.findings,
		CertFiles: a.certFiles, DockerConfig: func() string { return a.inForce().Images.DockerConfig }, Leaves: a.mesh.LeafExpiry, Cluster: a.openCluster(ctx),
		Assets: a.assetFindings,
	}
	a.startup.lacking = a.doctor.Rights
	if a.front.certs != nil {
		a.doctor.Certificates = a.front.certs.List
	}
	if a.domains != nil {
		a.doctor.Domains = a.domains.survey
	}
	return nil
}
