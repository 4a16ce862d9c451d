package main

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/wadi-run/wadi/scheduler/simulate"
)

// whatIf simulates loads under settings.
type whatIf struct {
	traces, configs stringList
	service         string
	against         stringList
	every           time.Duration
	totals, json    bool
}

func (w *whatIf) register(fs *flag.FlagSet) {
	fs.Var(&w.traces, "what-if", "simulate the load in this `file`; may be repeated")
	fs.Var(&w.configs, "config", "with -what-if: take the scale block of this HCL `file`, of a service or by itself; may be repeated, to compare")
	fs.StringVar(&w.service, "service", "", "with -config: the `name` of the service, if the file has several")
	fs.Var(&w.against, "against", "with -what-if: compare with another `rule`, nomad-autoscaler or\nnomad-autoscaler-served (it does not see waiting requests); may be repeated")
	fs.DurationVar(&w.every, "every", 10*time.Second, "with -what-if: the `time` between two lines")
	fs.BoolVar(&w.totals, "totals", false, "with -what-if: print nothing but the totals")
	fs.BoolVar(&w.json, "json", false, "with -what-if: print JSON lines")
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

// totals is the result of one load under one setting.
type totals struct {
	Load    string          `json:"trace"`
	Setting string          `json:"setting"`
	Totals  simulate.Totals `json:"totals"`
}

// simulate runs one load under each setting, and prints the rows.
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

func baseName(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}
