package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/scheduler"
)

// examination is one run of the doctor, for its checks.
type examination struct {
	*call
	client  *api.Client
	reports []wadi.AgentReport
}

// examinations are the doctor's checks, in order. One that returns an error ends
// the run: what comes after it could find nothing.
func examinations() []func(context.Context, *examination) ([]wadi.Finding, error) {
	return []func(context.Context, *examination) ([]wadi.Finding, error){
		examineAgent, examineLeader, examineAgents, examineVersions, examineServices,
	}
}

// errExamined ends a run after a finding that says why.
var errExamined = errors.New("examined")

func doctorCommand() command {
	return command{
		usage: "wadi doctor [options]", synopsis: "Look for what is wrong, and say what to do",
		help: `
It asks an agent, and through it all others, whether they are well, reach Consul
and Nomad, and what becomes of their certificates; and looks for services with a
condition that does not hold, among those that the token may read.

Exit code 1 says that something fails; warnings alone are no failure.`,
		remote: true,
		run: func(ctx context.Context, c *call) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			return c.examine(ctx, &examination{call: c, client: client})
		},
	}
}

func (c *call) examine(ctx context.Context, e *examination) error {
	all := []wadi.Finding{}
	for _, examine := range examinations() {
		found, err := examine(ctx, e)
		all = append(all, found...)
		if errors.Is(err, errExamined) {
			break
		}
		if err != nil {
			return err
		}
	}
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

func examineAgent(ctx context.Context, e *examination) ([]wadi.Finding, error) {
	self, err := e.client.Self(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return []wadi.Finding{{Level: wadi.LevelFail, About: "agent", What: err.Error(),
			Remedy: "start one with \"wadi agent\", or name another address with -address or WADI_ADDR"}}, errExamined
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: "agent " + self.Name,
		What: fmt.Sprintf("it answers at %s, version %s", e.client.Address(), self.Version)}}, nil
}

func examineLeader(ctx context.Context, e *examination) ([]wadi.Finding, error) {
	leader, err := e.client.Leader(ctx)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: "leader", What: err.Error(),
			Remedy: "nothing is reconciled or scaled until one leads; the agents' logs say what they wait for"}}, nil
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: "leader", What: leader.Name + " leads"}}, nil
}

// examineAgents gathers what the agents found about themselves.
func examineAgents(ctx context.Context, e *examination) ([]wadi.Finding, error) {
	d, err := e.client.Doctor(ctx)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: "agents", What: "they can't be asked: " + err.Error()}}, nil
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

// examineVersions looks for agents that are not alike in what callers may notice: each
// gateway makes its own table of hosts, and the leader's is the one that status is about.
func examineVersions(_ context.Context, e *examination) ([]wadi.Finding, error) {
	var out []wadi.Finding
	if parts := e.apart(func(r wadi.AgentReport) string { return orDash(r.Version) }); parts != "" {
		out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: "agents", What: "they have different versions: " + parts,
			Remedy: "bring all to the newest"})
	}
	if parts := e.apart(func(r wadi.AgentReport) string { return r.GatewayDomain }); parts != "" {
		out = append(out, wadi.Finding{Level: wadi.LevelFail, About: "agents", What: "their gateways answer for different domains: " + parts,
			Remedy: "give all the same gateway.domain: each knows services by its own, and the URLs are the leader's"})
	}
	return out, nil
}

// apart says which agents differ in what of tells; empty: they are alike. One that tells
// nothing, as an old one may, or one that can't be asked, is left out.
func (e *examination) apart(of func(wadi.AgentReport) string) string {
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

// examineServices looks at the conditions of all services that the token may read.
func examineServices(ctx context.Context, e *examination) ([]wadi.Finding, error) {
	all, err := e.client.Services(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, wadi.ErrForbidden):
		remedy := "set a Nomad token with -token or NOMAD_TOKEN"
		if e.token != "" {
			remedy = "set another Nomad token with -token or NOMAD_TOKEN: Nomad does not know this one, or not any more"
		}
		return []wadi.Finding{{Level: wadi.LevelWarn, About: "services", What: "they were not looked at: " + err.Error(), Remedy: remedy}}, nil
	case err != nil:
		return []wadi.Finding{{Level: wadi.LevelFail, About: "services", What: "they can't be listed: " + err.Error()}}, nil
	}
	var out []wadi.Finding
	good := 0
	for _, summary := range all {
		s, err := e.client.Service(ctx, summary.Name)
		var found []wadi.Finding
		switch {
		case ctx.Err() != nil:
			return out, ctx.Err()
		case errors.Is(err, wadi.ErrNotFound):
			continue // Gone since.
		case err != nil:
			found = []wadi.Finding{{Level: wadi.LevelFail, About: "service " + summary.Name, What: "it can't be read: " + err.Error()}}
		default:
			found = aboutService(s)
		}
		if out = append(out, found...); len(found) == 0 {
			good++
		}
	}
	if good > 0 || len(all) == 0 {
		out = append(out, wadi.Finding{Level: wadi.LevelOK, About: "services", What: fmt.Sprintf("%d %s should be", good, wadi.Either(good, "is as it", "are as they"))})
	}
	return out, nil
}

// aboutService judges the conditions of a service that do not hold.
func aboutService(s api.Service) []wadi.Finding {
	name := s.Service.Name
	var out []wadi.Finding
	for _, c := range s.Status.Conditions {
		if c.OK {
			continue
		}
		f := wadi.Finding{Level: wadi.LevelFail, About: "service " + name, What: c.Message}
		if f.What == "" {
			f.What = strings.TrimSpace(c.Type + " does not hold " + c.Reason)
		}
		f.Remedy = "wadi service status " + name + " tells more"
		switch {
		case c.Type == control.ConditionCallers:
			f.What, f.Remedy, _ = strings.Cut(c.Message, ": ")
		case c.Type == control.ConditionUsage && strings.Contains(c.Message, nomad.MeasureSetting):
			f.Remedy = "set " + nomad.MeasureSetting + " in the configuration of every Nomad client that runs instances, and restart it"
		case c.Type == control.ConditionShielded:
			f.Level = wadi.LevelWarn // It serves.
			f.What, f.Remedy, _ = strings.Cut(c.Message, "; ")
		case c.Type == control.ConditionDrains:
			f.Level = wadi.LevelWarn // It serves.
			f.Remedy = "set client { max_kill_timeout } in the configuration of Nomad's clients to the service's timeout.request and 10 s"
		case c.Type == control.ConditionSteady:
			f.Level = wadi.LevelWarn // It serves, or another condition says that it does not.
			f.Remedy = "read its logs: nomad alloc logs -stderr; wadi events " + name + " tells of each"
			if c.Reason == control.ReasonOOM {
				f.Remedy = "raise memory or memory_max in the task's resources, or let fewer requests in at once (concurrency.limit)"
			}
		case c.Type == control.ConditionServing && c.Reason == scheduler.NotServing:
			f.Remedy = "mend what hinders it; the next request starts it then, or wadi service scale -for 1m " + name + " 1"
		case c.Reason == "Starting" || s.Deleting || s.Status.Generation < s.Generation:
			f.Level = wadi.LevelWarn // It may well be on its way.
		case (c.Type == "LatestReady" || c.Type == control.ConditionServing) && c.Reason == "Failed":
			f.Remedy = "submit a revision that works, or the same file once more to try again; callers are served by the one before, if there is any"
		}
		out = append(out, f)
	}
	return out
}
