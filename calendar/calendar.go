// Package calendar says which floors by the clock are in force: the schedules of
// a service, each from the times that its cron expression names, for its duration.
//
// It promises to depend on its arguments alone: the time is one of them, and the
// rules of time zones are those that were built in or that the machine has. It
// refuses expressions that never begin, and zones that mean something else on
// another machine.
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

// Calendar is a list of schedules, made ready to be asked. The zero value has none.
type Calendar struct {
	list    []wadi.Schedule
	entries []entry
}

type entry struct {
	wadi.Schedule
	cron *cron.SpecSchedule
	zone *time.Location
}

// Floor is a floor by the clock that is in force.
type Floor struct {
	Name  string // The schedule's.
	Min   int
	Until time.Time // When it ends, unless another one takes its place.
}

// New makes schedules ready to be asked. Of a schedule that can't be, the others
// still count; the error says all that is wrong.
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

// Of reports whether c was made of this list.
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
		return nil, fmt.Errorf("%q is not a cron expression (%w); write minute, hour, day, month and weekday, such as \"0 8 * * mon-fri\"", text, err)
	}
	s := parsed.(*cron.SpecSchedule)
	if s.Next(time.Unix(0, 0)).IsZero() {
		return nil, fmt.Errorf("%q names a day that never comes", text)
	}
	return s, nil
}

// Zone finds a time zone by its name in the IANA's list; an empty one is UTC.
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

// At is the highest floor that is in force at now; ok is false if none is. Of
// two equally high ones it is the one that ends later.
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

// Next is when some schedule begins after now; the zero time: never.
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

// overlaps bounds how many beginnings in a row are followed to find an end. What
// goes on for longer ends no sooner than is said.
const overlaps = 24

// until reports whether the schedule is in force at now, and when it ends. One
// that begins again before it has ended goes on.
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
