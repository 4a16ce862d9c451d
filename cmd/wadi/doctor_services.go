package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/scheduler"
)

// askServicesAgain is the remedy where an agent can't read services.
const askServicesAgain = "mend what was found about the agents, Consul and Nomad, and ask again"

// checkServices checks the conditions of all services that the token may read.
func checkServices(ctx context.Context, e *checkup) ([]wadi.Finding, error) {
	all, err := asked(ctx, e.client.Services)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, wadi.ErrForbidden):
		remedy := "set a Nomad token with -token or NOMAD_TOKEN"
		if e.token != "" {
			remedy = "set another Nomad token with -token or NOMAD_TOKEN: Nomad does not know this one, or no longer"
		}
		return []wadi.Finding{{Level: wadi.LevelWarn, About: "services", What: "they were not checked: " + err.Error(), Remedy: remedy}}, nil
	case err != nil:
		return []wadi.Finding{{Level: wadi.LevelFail, About: "services", What: "they can't be listed: " + err.Error(), Remedy: askServicesAgain}}, nil
	}
	var out []wadi.Finding
	good := 0
	for _, summary := range all {
		s, err := asked(ctx, func(ctx context.Context) (api.Service, error) { return e.client.Service(ctx, summary.Name) })
		var found []wadi.Finding
		switch {
		case ctx.Err() != nil:
			return out, ctx.Err()
		case errors.Is(err, wadi.ErrNotFound):
			continue // Deleted meanwhile.
		case err != nil:
			found = []wadi.Finding{{Level: wadi.LevelFail, About: "service " + summary.Name, What: "it can't be read: " + err.Error(), Remedy: askServicesAgain}}
		default:
			found = serviceFindings(s)
		}
		if out = append(out, found...); len(found) == 0 {
			good++
		}
	}
	if good > 0 || len(all) == 0 {
		out = append(out, wadi.Finding{Level: wadi.LevelOK, About: "services", What: fmt.Sprintf("%d %s should be", good, wadi.Plural(good, "is as it", "are as they"))})
	}
	return out, nil
}

// serviceFindings explains the conditions of a service that do not hold.
func serviceFindings(s api.Service) []wadi.Finding {
	name := s.Service.Name
	var out []wadi.Finding
	for _, c := range s.Status.Conditions {
		if c.OK {
			continue
		}
		f := wadi.Finding{Level: wadi.LevelFail, About: "service " + name, What: c.Message, Remedy: "wadi service status " + name + " shows more"}
		if f.What == "" {
			f.What = strings.TrimSpace(c.Type + " does not hold " + c.Reason)
		}
		switch {
		case c.Type == control.ConditionCallers:
			f.What, f.Remedy, _ = strings.Cut(c.Message, ": ")
		case c.Type == control.ConditionUsage && strings.Contains(c.Message, nomad.MeasureSetting):
			f.Remedy = "set " + nomad.MeasureSetting + " in the configuration of every Nomad client that runs instances, and restart it"
		case c.Type == control.ConditionShielded:
			f.Level = wadi.LevelWarn // It serves.
			f.What, f.Remedy, _ = strings.Cut(c.Message, "; ")
		case c.Type == control.ConditionImages:
			f.Level = wadi.LevelWarn // It serves.
			f.Remedy = "mend that and apply its file again, write the image by its digest, or set resolve_images = \"off\""
		case c.Type == control.ConditionDrains:
			f.Level = wadi.LevelWarn // It serves.
			f.Remedy = "set client { max_kill_timeout } in the configuration of Nomad's clients to the service's timeout.request and 10 s"
		case strings.HasPrefix(c.Type, control.ConditionCertificate):
			f.About += ", domain " + strings.TrimPrefix(c.Type, control.ConditionCertificate)
			if i := strings.LastIndex(c.Message, "; "); i >= 0 {
				f.What, f.Remedy = c.Message[:i], c.Message[i+2:]
			}
			if c.Reason == string(wadi.DomainOrdered) {
				f.Level, f.Remedy = wadi.LevelWarn, "look again in some minutes"
			}
		case c.Type == control.ConditionSteady:
			f.Level = wadi.LevelWarn // It serves, or another condition says otherwise.
			f.Remedy = "read its logs: nomad alloc logs -stderr; wadi events " + name + " shows each of them"
			if c.Reason == control.ReasonOOM {
				f.Remedy = "raise memory or memory_max in the task's resources, or let fewer requests in at once (concurrency.limit)"
			}
		case c.Type == control.ConditionServing && c.Reason == scheduler.NotServing:
			f.Remedy = "fix what prevents the start; then the next request starts it, or wadi service scale -for 1m " + name + " 1"
		case c.Reason == "Starting" || s.Deleting || s.Status.Generation < s.Generation:
			f.Level = wadi.LevelWarn // It may become true by itself.
		case (c.Type == "LatestReady" || c.Type == control.ConditionServing) && c.Reason == "Failed":
			f.Remedy = "submit a revision that works, or the same file once more to try again; callers are served by the one before, if there is any"
		}
		out = append(out, f)
	}
	return out
}
