package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/scheduler"
	"github.com/wadi-run/wadi/scheduler/simulate"
)

// whatIf simulates loads under settings.
type whatIf struct {
	traces, configs list
	service         string
	against         list
	every           time.Duration
	totals, json    bool
}

func (w *whatIf) register(fs *flag.FlagSet) {
	fs.Var(&w.traces, "what-if", "simulate the load in this `file`; may be repeated")
	fs.Var(&w.configs, "config", "with -what-if: take the scale block of this HCL `file`, of a service or by itself; may be repeated, to compare")
	fs.StringVar(&w.service, "service", "", "with -config: the `name` of the service, if the file has several")
	fs.Var(&w.against, "against", "with -what-if: compare with another `rule`, nomad-autoscaler or\nnomad-autoscaler-served (it does not see what waits); may be repeated")
	fs.DurationVar(&w.every, "every", 10*time.Second, "with -what-if: how much `time` a line stands for")
	fs.BoolVar(&w.totals, "totals", false, "with -what-if: print nothing but the totals")
	fs.BoolVar(&w.json, "json", false, "with -what-if: print JSON lines")
}

// setting is one rule with its numbers, under a name.
type setting struct {
	name    string
	service wadi.Service
	rule    func(capacity int) (simulate.Rule, error)
}

func (w *whatIf) run(c *call) error {
	if w.every < time.Second || w.every%time.Second != 0 {
		return usagef("-every must be whole seconds, at least one")
	}
	settings, err := w.settings(c)
	if err != nil {
		return err
	}
	all, err := w.all(c, settings)
	if err == nil && !w.json {
		c.printTotals(all)
	}
	return err
}

// all simulates every load under every setting.
func (w *whatIf) all(c *call, settings []setting) ([]totals, error) {
	var all []totals
	for _, path := range w.traces {
		f, err := readSource(c.stdin, path)
		if err != nil {
			return nil, err
		}
		trace, err := simulate.ReadTrace(strings.NewReader(f.Source))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		some, err := w.simulate(c, baseName(f.Name), trace, settings)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// totals is what came of one load under one setting.
type totals struct {
	Load    string          `json:"trace"`
	Setting string          `json:"setting"`
	Totals  simulate.Totals `json:"totals"`
}

// simulate lets one load meet each setting, and prints what happens.
func (w *whatIf) simulate(c *call, name string, trace simulate.Trace, settings []setting) ([]totals, error) {
	var all []totals
	rows := make([][]simulate.Row, len(settings))
	for i, s := range settings {
		rule, err := s.rule(trace.Capacity)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		t := simulate.Run(trace.Fill(s.service.Queue), rule, w.every, func(r simulate.Row) { rows[i] = append(rows[i], r) })
		all = append(all, totals{name, s.name, t})
	}
	if w.json {
		return all, w.printLines(c, name, settings, rows, all)
	}
	if !w.totals {
		c.printRows(name, settings, rows)
	}
	return all, nil
}

func (w *whatIf) printLines(c *call, name string, settings []setting, rows [][]simulate.Row, all []totals) error {
	if !w.totals {
		for n := range rows[0] {
			for i, s := range settings {
				line := struct {
					Load    string `json:"trace"`
					Setting string `json:"setting"`
					simulate.Row
				}{name, s.name, rows[i][n]}
				if err := c.printLine(line); err != nil {
					return err
				}
			}
		}
	}
	for _, t := range all {
		if err := c.printLine(t); err != nil {
			return err
		}
	}
	return nil
}

// ceiling is the agent's bound of instances unless its configuration says otherwise.
const ceiling = 100

// settings are what is compared, in the order in which it was named.
func (w *whatIf) settings(c *call) ([]setting, error) {
	var all []setting
	for _, path := range w.configs {
		s, err := w.config(c, path)
		if err != nil {
			return nil, err
		}
		for _, m := range s.Scale.Metrics {
			if !m.Metric.OfRequests() {
				say(c.stderr, "Warning: %s: metric %q is left out: a load does not tell of it.\n", baseName(path), m.Metric)
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

// The rules of others.
const (
	naRule       = "nomad-autoscaler"
	naServedRule = "nomad-autoscaler-served"
)

// targetValue is the rule of the Nomad Autoscaler with the target of a service.
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

// config reads a service, or settings by themselves, as an agent's defaults have them.
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
		return wadi.Service{}, diagnosticErrors(diags)
	}
	d, problems := jobspecs.ParseDefaults(parsed.Body)
	return d.Service(), problemErrors(problems)
}

func (w *whatIf) serviceOf(f api.File) (wadi.Service, error) {
	drafts, problems := jobspecs.Parse(jobspecs.File{Name: f.Name, Source: []byte(f.Source)}, jobspecs.Options{})
	if err := problemErrors(problems); err != nil {
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

func problemErrors(problems []jobspecs.Problem) error {
	var all []error
	for _, p := range problems {
		if !p.Warning {
			all = append(all, errors.New(p.String()))
		}
	}
	return errors.Join(all...)
}

func baseName(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}
