// Package calendar evaluates a service's schedules: which lower bound is in force at a
// time. A schedule begins at the times of its cron expression, and lasts for its duration.
//
// It promises to depend on its arguments only: the time is one of them, and the time zone
// rules are built in or the machine's. It refuses expressions that never begin, and time
// zones that differ from machine to machine.
package calendar

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // Machines without zone rules of their own know the names as well.

	"github.com/robfig/cron/v3"

	"github.com/wadi-run/wadi"
)

// Calendar is a list of parsed schedules. The zero value has none.
type Calendar struct {
	list    []wadi.Schedule
	entries []entry
}

type entry struct {
	wadi.Schedule
	cron *cron.SpecSchedule
	zone *time.Location
}

// Floor is a lower bound in force.
type Floor struct {
	Name  string // The schedule's name.
	Min   int
	Until time.Time // When it ends, unless another one takes its place.
}

// New parses schedules. If some are invalid, the others still count, and the error names
// all that is wrong.
func New(list []wadi.Schedule) (*Calendar, error) {
	c := &Calendar{list: slices.Clone(list)}
	var errs []error
	for _, s := range list {
		e := entry{Schedule: s}
		var err, errZone error
		e.cron, err = Cron(s.Cron)
		e.zone, errZone = Zone(s.Timezone)
		if err = cmp.Or(err, errZone); err != nil {
			errs = append(errs, fmt.Errorf("schedule %s: %w", s.Name, err))
			continue
		}
		c.entries = append(c.entries, e)
	}
	return c, errors.Join(errs...)
}

// Of reports whether c was made from this list.
func (c *Calendar) Of(list []wadi.Schedule) bool { return slices.Equal(c.list, list) }

// Cron reads a cron expression of five fields, or a word such as @daily.
func Cron(text string) (*cron.SpecSchedule, error) {
	switch {
	case strings.Contains(text, "TZ="):
		return nil, fmt.Errorf("%q names a time zone; set it with timezone", text)
	case strings.HasPrefix(text, "@every"):
		return nil, fmt.Errorf("%q has no beginning on the clock; write five fields, such as \"0 8 * * mon-fri\"", text)
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	parsed, err := parser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a cron expression (%s); write minute, hour, day, month and weekday, such as \"0 8 * * mon-fri\"", text, wadi.OneLine(err.Error(), 100))
	}
	s := parsed.(*cron.SpecSchedule)
	if s.Next(time.Unix(0, 0)).IsZero() {
		return nil, fmt.Errorf("%q names a day that never comes", text)
	}
	return s, nil
}

// Zone finds a time zone by its IANA name; empty is UTC.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New("\"Local\" is another time zone on another machine; name one, such as \"Europe/Berlin\"")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q; use a name such as \"Europe/Berlin\" or \"UTC\"", name)
	}
	return zone, nil
}

// At is the highest floor in force at now; ok is false if there is none. Of two equally
// high floors it is the one that ends later.
func (c *Calendar) At(now time.Time) (f Floor, ok bool) {
	if c == nil {
		return Floor{}, false
	}
	for _, e := range c.entries {
		until, in := e.until(now)
		if in && (!ok || e.Min > f.Min || e.Min == f.Min && until.After(f.Until)) {
			f, ok = Floor{Name: e.Name, Min: e.Min, Until: until}, true
		}
	}
	return f, ok
}

// Next is when a schedule begins after now; the zero time: never.
func (c *Calendar) Next(now time.Time) (first time.Time) {
	if c == nil {
		return first
	}
	for _, e := range c.entries {
		if next := e.next(now); !next.IsZero() && (first.IsZero() || next.Before(first)) {
			first = next
		}
	}
	return first
}

// next is the first beginning after t.
func (e entry) next(t time.Time) time.Time { return e.cron.Next(t.In(e.zone)) }

// overlaps bounds how many consecutive beginnings are followed to find an end. A longer
// schedule ends no sooner than the time returned.
const overlaps = 24

// until reports whether the schedule is in force at now, and when it ends. A schedule that
// begins again before it ends continues.
func (e entry) until(now time.Time) (time.Time, bool) {
	start := e.next(now.Add(-e.Duration.D()))
	if start.IsZero() || start.After(now) {
		return time.Time{}, false
	}
	end := start.Add(e.Duration.D())
	for range overlaps {
		next := e.next(start)
		if next.IsZero() || next.After(end) {
			break
		}
		start, end = next, next.Add(e.Duration.D())
	}
	return end, true
}
