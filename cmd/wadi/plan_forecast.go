package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/scheduler/simulate"
)

// forecast is what the load of a service's last day would have met, with the stored
// settings and with the submitted ones.
type forecast struct {
	Service string          `json:"service"`
	From    time.Time       `json:"from"`
	To      time.Time       `json:"to"`
	Unknown int             `json:"unknown_minutes"` // In between: they count as without load.
	Before  simulate.Totals `json:"before"`
	After   simulate.Totals `json:"after"`
}

// Bounds of -start-up.
const (
	minStartUp = 10 * time.Millisecond
	maxStartUp = time.Hour
)

// forecastAll simulates the services that are stored. It takes some seconds for each.
func forecastAll(ctx context.Context, c *call, planned api.Plan, startUp time.Duration) ([]forecast, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	var all []forecast
	for _, p := range planned.Services {
		if p.Index == 0 {
			writef(c.stderr, "Warning: %s: no forecast, as it is new: no load is known.\n", p.Name)
			continue
		}
		answered := c.noticeSlowAnswer()
		stored, err := client.Service(ctx, p.Name)
		var load wadi.LoadHistory
		if err == nil {
			load, err = client.Load(ctx, p.Name)
		}
		answered()
		if err != nil {
			return nil, err
		}
		if !load.Known() || load.Minutes() == 0 {
			writef(c.stderr, "Warning: %s: no forecast, as no load is kept yet: the leading agent keeps it from its first minute on, and stores it every ten minutes.\n", p.Name)
			continue
		}
		simulated := c.noticeSlow("Simulating the load of " + p.Name + ", for %s so far.")
		f, err := forecastOf(ctx, load, stored.Service, p.Service, startUp)
		simulated()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		all = append(all, f)
	}
	return all, nil
}

// forecastOf simulates a load with two settings. Between them it ends with ctx.
func forecastOf(ctx context.Context, load wadi.LoadHistory, before, after wadi.Service, startUp time.Duration) (forecast, error) {
	f := forecast{Service: after.Name, From: time.Unix(load.Begin, 0).UTC(), To: time.Unix(load.End(), 0).UTC()}
	for _, requests := range load.Requests {
		if requests < 0 {
			f.Unknown++
		}
	}
	for _, side := range []struct {
		service wadi.Service
		into    *simulate.Totals
	}{{before, &f.Before}, {after, &f.After}} {
		if err := ctx.Err(); err != nil {
			return f, err
		}
		rule, err := simulate.NewWadi(side.service.Scale, side.service.ConcurrencyLimit, ceiling)
		if err != nil {
			return f, err
		}
		trace := simulate.OfHistory(load).Fill(side.service.Queue)
		trace.StartUp = startUp
		*side.into = simulate.Run(trace, rule, time.Hour, func(simulate.Row) {})
	}
	return f, nil
}

// forecasts prints before and after side by side.
func (p planPrinter) forecasts(all []forecast, startUp time.Duration) {
	for _, f := range all {
		unknown := ""
		if f.Unknown > 0 {
			unknown = fmt.Sprintf(" (%s of it %s not known, and count as without load)", wadi.Quantity(f.Unknown, "minute"), wadi.Plural(f.Unknown, "is", "are"))
		}
		p.printf("\nForecast for %s, by its load from %s to %s UTC%s, with %s to start an instance:\n\n", f.Service,
			f.From.Format("2006-01-02 15:04"), f.To.Format("2006-01-02 15:04"), unknown, startUp)
		row := func(name string, number func(simulate.Totals) string) []string {
			return []string{name, number(f.Before), number(f.After)}
		}
		count := func(of func(simulate.Totals) int) func(simulate.Totals) string {
			return func(t simulate.Totals) string { return strconv.Itoa(of(t)) }
		}
		p.table(-1, []string{"", "Stored settings", "These settings"}, [][]string{
			row("Requests", count(func(t simulate.Totals) int { return t.Requests })),
			row("Requests that wait", count(func(t simulate.Totals) int { return t.Late })),
			row("Requests refused", count(func(t simulate.Totals) int { return t.Refused })),
			row("Longest wait", func(t simulate.Totals) string { return t.LongestWait.Round(10 * time.Millisecond).String() }),
			row("Instance-seconds", count(func(t simulate.Totals) int { return int(math.Round(t.InstanceSeconds)) })),
			row("Most instances", count(func(t simulate.Totals) int { return t.Peak })),
			row("Changes of the count", count(func(t simulate.Totals) int { return t.Changes })),
		})
	}
}
