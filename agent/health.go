package agent

import (
	"context"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/doctor"
)

// problems are what keeps this agent from being healthy, in words.
func (a *Agent) problems() []string {
	var out []string
	for _, f := range a.unhealthy() {
		out = append(out, f.What)
	}
	return out
}

// unhealthy are the problems as findings. Load balancers ask for them every second or so:
// nothing here needs a connection.
func (a *Agent) unhealthy() []wadi.Finding {
	var out []wadi.Finding
	add := func(level wadi.Level, what, remedy string) {
		out = append(out, wadi.Finding{Level: level, About: "agent", What: what, Remedy: remedy})
	}
	waits := a.startup.waitsFor()
	if waits != "" {
		add(wadi.LevelFail, waits, "")
	}
	if why := a.members.Conflict(); why != "" {
		add(wadi.LevelFail, why, "")
	}
	if a.drain.HasBegun() {
		add(wadi.LevelWarn, "draining: it takes no more requests", "restart it, or stop it")
	}
	if leader, _ := a.leadership.Leader(); leader == "" && waits == "" {
		add(wadi.LevelFail, "no agent leads: nothing is reconciled or scaled, requests are served and wake", "")
	}
	if !a.watcher.Up() {
		add(wadi.LevelFail, "Nomad's event stream is down", "")
	}
	return out
}

// openDoctor makes what examines this agent.
func (a *Agent) openDoctor(context.Context) error {
	a.doctor = &doctor.Doctor{
		Name: a.cfg.Name, Version: a.deps.Version, GatewayDomain: a.cfg.Gateway.Domain, Prefix: a.cfg.Consul.Prefix,
		ConsulAddress: a.cfg.Consul.Address, NomadAddress: a.cfg.Nomad.Address,
		Consul: a.consul, Nomad: a.nomad, Store: a.store, Members: a.members, Log: a.log,
		Routes:     a.routing.all,
		Namespaces: a.routing.namespaces, Unwatched: a.watcher.Unwatched, Hidden: a.guard.Hidden, Problems: a.unhealthy,
	}
	if a.front.certs != nil {
		a.doctor.Certificates = a.front.certs.List
	}
	return nil
}
