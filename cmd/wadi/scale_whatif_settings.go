package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/scheduler"
	"github.com/wadi-run/wadi/scheduler/simulate"
)

// setting is one rule with its parameters, under a name.
type setting struct {
	name    string
	service wadi.Service
	rule    func(capacity int) (simulate.Rule, error)
}

// ceiling is the agent's default limit of instances.
const ceiling = 100

// settings are the rules to compare, in the order of the flags.
func (w *whatIf) settings(c *call) ([]setting, error) {
	var all []setting
	for _, path := range w.configs {
		s, err := w.config(c, path)
		if err != nil {
			return nil, err
		}
		for _, m := range s.Scale.Metrics {
			if !m.Metric.OfRequests() {
				writef(c.stderr, "Warning: %s: metric %q is left out: a simulated load does not have it.\n", baseName(path), m.Metric)
			}
		}
		all = append(all, setting{name: baseName(path), service: s})
	}
	if len(all) == 0 {
		all = append(all, setting{name: "wadi", service: jobspecs.Defaults{}.Service()})
	}
	for i, s := range all {
		all[i].rule = func(int) (simulate.Rule, error) {
			return simulate.NewWadi(s.service.Scale, s.service.ConcurrencyLimit, ceiling)
		}
	}
	for _, rule := range w.against {
		if rule != naRule && rule != naServedRule {
			return nil, usagef("there is no rule %q to compare with; use %s or %s", rule, naRule, naServedRule)
		}
		all = append(all, targetValue(rule, all[0].service))
	}
	return all, nil
}

// targetValue is the rule of the Nomad Autoscaler with a service's target.
func targetValue(rule string, s wadi.Service) setting {
	m := wadi.Concurrency.Default()
	if i := slices.IndexFunc(s.Scale.Metrics, func(m wadi.MetricTarget) bool { return m.Metric == wadi.Concurrency }); i >= 0 {
		m = s.Scale.Metrics[i]
	}
	resolved := scheduler.SettingsOf(&s.Scale, m, s.ConcurrencyLimit, true)
	return setting{rule, s, func(int) (simulate.Rule, error) {
		return &simulate.TargetValue{Target: resolved.TargetValue, Limit: int(resolved.TotalValue), Max: cmp.Or(s.Scale.Max, ceiling), Served: rule == naServedRule}, nil
	}}
}

// config reads a service, or a bare scale block, with an agent's defaults.
func (w *whatIf) config(c *call, path string) (wadi.Service, error) {
	f, err := readSource(c.stdin, path)
	if err != nil {
		return wadi.Service{}, err
	}
	if outlineOf(f).services > 0 {
		return w.serviceOf(f)
	}
	parsed, diags := hclsyntax.ParseConfig([]byte(f.Source), f.Name, hcl.InitialPos)
	if diags.HasErrors() {
		return wadi.Service{}, errorOf(jobspecs.FromDiagnostics(diags, "", hcl.Range{Filename: f.Name}))
	}
	d, problems := jobspecs.ParseDefaults(parsed.Body)
	return d.Service(), errorOf(problems)
}

func (w *whatIf) serviceOf(f api.File) (wadi.Service, error) {
	drafts, problems := jobspecs.Parse(jobspecs.File{Name: f.Name, Source: []byte(f.Source)}, jobspecs.Options{})
	if err := errorOf(problems); err != nil {
		return wadi.Service{}, err
	}
	var names []string
	for _, d := range drafts {
		if names = append(names, d.Service.Name); w.service == d.Service.Name || w.service == "" && len(drafts) == 1 {
			return d.Service, nil
		}
	}
	return wadi.Service{}, usagef("%s has the services %s; name one with -service", f.Name, strings.Join(names, ", "))
}

// Rules of other autoscalers.
const (
	naRule       = "nomad-autoscaler"
	naServedRule = "nomad-autoscaler-served"
)
