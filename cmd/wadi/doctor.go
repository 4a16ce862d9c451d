package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// checkup is one run of the doctor, for its checks.
type checkup struct {
	*call
	client  *api.Client
	reports []wadi.AgentReport
}

// checks are the doctor's checks, in order. A check that returns an error ends the run, as
// the later ones could find nothing.
func checks() []func(context.Context, *checkup) ([]wadi.Finding, error) {
	return []func(context.Context, *checkup) ([]wadi.Finding, error){
		checkAgent, checkLeader, checkAgents, checkVersions, checkServices,
	}
}

// errStopChecks ends a run after a finding that explains why.
var errStopChecks = errors.New("examined")

func doctorCommand() command {
	var printed policyFlags
	return command{
		usage: "wadi doctor [options]", synopsis: "Find problems, and say what to do about them",
		help: `
It asks an agent, and through it all others, whether they are healthy, reach
Consul and Nomad, and have their rights and valid certificates; whether Nomad's
nodes, the mesh and the clocks are as services need them; and what was left
behind. Then it checks the conditions of all services that the token may read.
Each finding says what to do; docs/doctor.md lists them.

With -policies it prints the least rights that the agents' own tokens need, with
what breaks without each. One at a time they go straight to where they belong:

  wadi doctor -policies -only nomad  | nomad acl policy apply wadi -
  wadi doctor -policies -only consul | consul acl policy create -name wadi -rules -

Agents that run in a Nomad job need no tokens: with -job it prints the rights of
that job, and the commands that give them.

Exit code 1 means that a check failed; warnings alone do not count.`,
		remote: true,
		flags:  printed.register,
		run: func(ctx context.Context, c *call) error {
			if printed.wanted {
				return c.showPolicies(printed)
			}
			if err := printed.unused(); err != nil {
				return err
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			return c.runChecks(ctx, &checkup{call: c, client: client})
		},
	}
}

func (c *call) runChecks(ctx context.Context, e *checkup) error {
	all := []wadi.Finding{}
	answered := c.noticeSlow("The checks are not done yet, after %s: the agents ask Nomad and Consul. Still waiting.")
	defer answered()
	for _, examine := range checks() {
		found, err := examine(ctx, e)
		all = append(all, found...)
		if errors.Is(err, errStopChecks) {
			break
		}
		if err != nil {
			return err
		}
	}
	answered()
	failed := slices.ContainsFunc(all, func(f wadi.Finding) bool { return f.Level == wadi.LevelFail })
	if c.json {
		if err := c.printJSON(map[string]any{"ok": !failed, "findings": all}); err != nil {
			return err
		}
	} else {
		c.showFindings(all)
	}
	if failed {
		return errReported
	}
	return nil
}

func (c *call) showFindings(all []wadi.Finding) {
	var rows [][]string
	for _, f := range all {
		what := f.What
		if f.Remedy != "" {
			what += " -> " + f.Remedy
		}
		rows = append(rows, []string{strings.ToUpper(string(f.Level)), f.About, what})
	}
	c.table(0, []string{"LEVEL", "ABOUT", "FOUND -> WHAT TO DO"}, rows)
}

func checkAgent(ctx context.Context, e *checkup) ([]wadi.Finding, error) {
	self, err := asked(ctx, e.client.Self)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, wadi.ErrForbidden):
		return []wadi.Finding{{Level: wadi.LevelFail, About: "agent", What: err.Error(),
			Remedy: "set a Nomad token with -token or NOMAD_TOKEN, or ask on the agent's machine"}}, errStopChecks
	case errors.Is(err, errSilent):
		return []wadi.Finding{{Level: wadi.LevelFail, About: "agent", What: err.Error(),
			Remedy: "look at its process and its log; name another one with -address or WADI_ADDR"}}, errStopChecks
	case err != nil:
		return []wadi.Finding{{Level: wadi.LevelFail, About: "agent", What: err.Error(),
			Remedy: "start one with \"wadi agent\", or name another address with -address or WADI_ADDR"}}, errStopChecks
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: "agent " + self.Name,
		What: fmt.Sprintf("it answers at %s, version %s", e.client.Address(), self.Version)}}, nil
}

func checkLeader(ctx context.Context, e *checkup) ([]wadi.Finding, error) {
	leader, err := asked(ctx, e.client.Leader)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: "leader", What: err.Error(),
			Remedy: "nothing is reconciled or scaled without a leader; the agents' logs say what they wait for"}}, nil
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: "leader", What: leader.Name + " leads"}}, nil
}

// checkAgents collects what the agents found about themselves.
func checkAgents(ctx context.Context, e *checkup) ([]wadi.Finding, error) {
	d, err := asked(ctx, e.client.Doctor)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: "agents", What: "they can't be asked: " + err.Error(),
			Remedy: "ask again; the agent's log says more"}}, nil
	}
	e.reports = d.Agents
	var out []wadi.Finding
	for _, r := range d.Agents {
		for _, f := range r.Findings {
			f.About = r.Name + ": " + f.About
			out = append(out, f)
		}
	}
	return out, nil
}

// checkVersions looks for settings that must be the same at all agents: each gateway
// derives host names from its own domain, and status shows the leader's.
func checkVersions(_ context.Context, e *checkup) ([]wadi.Finding, error) {
	var out []wadi.Finding
	if parts := e.differences(func(r wadi.AgentReport) string { return orDash(r.Version) }); parts != "" {
		out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: "agents", What: "they have different versions: " + parts,
			Remedy: "bring all to the newest"})
	}
	if parts := e.differences(func(r wadi.AgentReport) string { return r.GatewayDomain }); parts != "" {
		out = append(out, wadi.Finding{Level: wadi.LevelFail, About: "agents", What: "their gateways answer for different domains: " + parts,
			Remedy: "give all the same gateway.domain: each knows services by its own, and the URLs are the leader's"})
	}
	return out, nil
}

// differences lists the values of a property with the agents that have them; empty: all
// are the same. Agents without a value are left out: they are older, or can't be asked.
func (e *checkup) differences(of func(wadi.AgentReport) string) string {
	by := map[string][]string{}
	for _, r := range e.reports {
		if what := of(r); what != "" {
			by[what] = append(by[what], r.Name)
		}
	}
	if len(by) < 2 {
		return ""
	}
	var parts []string
	for what, names := range by {
		slices.Sort(names)
		parts = append(parts, what+" ("+strings.Join(names, ", ")+")")
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
