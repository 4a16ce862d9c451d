package simulate

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

// Trace is a load over time, and the limits that it meets.
type Trace struct {
	Begin        time.Time     // When second 0 is, for schedules.
	StartUp      time.Duration // From the request for an instance until it is ready.
	Capacity     int           // Concurrent requests of one instance; 0: the rule's Capacity.
	QueueDepth   int           // Further waiting requests are refused; 0: see Fill.
	QueueTimeout time.Duration // Requests that wait for longer are refused; 0: see Fill.
	LateAfter    time.Duration // A request that waits for longer is late.
	Points       []Point       // Ordered by time; the last one is the end.
}

// Point is the load from a moment on.
type Point struct {
	At          time.Duration
	RPS         float64       // Requests that begin per second.
	Concurrency float64       // Concurrent requests: when one is answered, the next begins. Not used with RPS.
	Service     time.Duration // How long an instance takes for a request.
	Ramp        bool          // The load changes linearly until the next point.
}

// End is when the trace is over.
func (t Trace) End() time.Duration { return t.Points[len(t.Points)-1].At }

// Fill takes what the trace leaves open from a service's queue settings.
func (t Trace) Fill(q wadi.Queue) Trace {
	t.QueueDepth = cmp.Or(t.QueueDepth, q.Depth)
	t.QueueTimeout = cmp.Or(t.QueueTimeout, q.Timeout.D())
	return t
}

// at is the load at a time. i is the index of a point at or before it; at returns the
// index of the point in force.
func (t Trace) at(now time.Duration, i int) (Point, int) {
	for i+1 < len(t.Points) && t.Points[i+1].At <= now {
		i++
	}
	p := t.Points[i]
	if p.Ramp && i+1 < len(t.Points) {
		next := t.Points[i+1]
		share := float64(now-p.At) / float64(next.At-p.At)
		p.RPS += (next.RPS - p.RPS) * share
		p.Concurrency += (next.Concurrency - p.Concurrency) * share
	}
	return p, i
}

// Bounds of a trace. A week at ten thousand requests per second is simulated
// within minutes.
const (
	maxTrace    = 7 * 24 * time.Hour
	maxRate     = 1e5
	maxLine     = 1 << 20
	maxPoints   = 100_000
	maxService  = 24 * time.Hour
	maxCapacity = 1e6
)

type line struct {
	Begin        *time.Time `json:"begin"`
	StartUp      *float64   `json:"start_up_s"`
	Capacity     *float64   `json:"capacity"`
	QueueDepth   *float64   `json:"queue_depth"`
	QueueTimeout *float64   `json:"queue_timeout_s"`
	LateAfter    *float64   `json:"late_after_s"`

	At          *float64 `json:"t_s"`
	RPS         *float64 `json:"rps"`
	Concurrency *float64 `json:"concurrency"`
	Service     *float64 `json:"service_time_s"`
	Ramp        bool     `json:"ramp"`
}

// ReadTrace reads JSON lines: settings of the trace, in any line, and its points. A point
// keeps the values of the point before unless it names them.
func ReadTrace(in io.Reader) (Trace, error) {
	t := Trace{
		Begin: time.Unix(0, 0).UTC(), StartUp: 5 * time.Second, LateAfter: time.Second,
	}
	last := Point{Service: 100 * time.Millisecond}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		var l line
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		err := d.Decode(&l)
		if err == nil && d.More() {
			err = errors.New("one object a line is required")
		}
		if err == nil {
			err = t.add(l, &last)
		}
		if err != nil {
			return Trace{}, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Trace{}, fmt.Errorf("line %d: %w", n+1, err)
	}
	if len(t.Points) < 2 {
		return Trace{}, fmt.Errorf("line %d: two lines with t_s are required at least: a load, and when it ends", n)
	}
	return t, nil
}

// add applies one line to the trace.
func (t *Trace) add(l line, last *Point) error {
	if l.Begin != nil {
		t.Begin = *l.Begin
	}
	if err := t.set(l, last); err != nil {
		return err
	}
	if l.At == nil {
		if l.RPS != nil || l.Concurrency != nil || l.Ramp {
			return errors.New("t_s is missing: from when on this is the load, in seconds")
		}
		return nil
	}
	if l.Concurrency != nil && l.RPS == nil {
		last.RPS = 0
	}
	last.Ramp = l.Ramp
	if n := len(t.Points); n > 0 && last.At <= t.Points[n-1].At {
		return fmt.Errorf("t_s must be greater than on the line before: %v after %v", last.At.Seconds(), t.Points[n-1].At.Seconds())
	} else if n == maxPoints {
		return fmt.Errorf("at most %d points are allowed", maxPoints)
	}
	t.Points = append(t.Points, *last)
	return nil
}

// set sets the numbers that a line names, if they are within their bounds.
func (t *Trace) set(l line, last *Point) error {
	for _, s := range []struct {
		name      string
		from      *float64
		low, high float64
		set       func(float64)
	}{
		{"start_up_s", l.StartUp, 0, maxService.Seconds(), func(v float64) { t.StartUp = seconds(v) }},
		{"capacity", l.Capacity, 1, maxCapacity, func(v float64) { t.Capacity = int(v) }},
		{"queue_depth", l.QueueDepth, 1, maxCapacity, func(v float64) { t.QueueDepth = int(v) }},
		{"queue_timeout_s", l.QueueTimeout, step.Seconds(), maxService.Seconds(), func(v float64) { t.QueueTimeout = seconds(v) }},
		{"late_after_s", l.LateAfter, 0, maxService.Seconds(), func(v float64) { t.LateAfter = seconds(v) }},
		{"t_s", l.At, 0, maxTrace.Seconds(), func(v float64) { last.At = seconds(v) }},
		{"rps", l.RPS, 0, maxRate, func(v float64) { last.RPS, last.Concurrency = v, 0 }},
		{"concurrency", l.Concurrency, 0, maxRate, func(v float64) { last.Concurrency = v }},
		{"service_time_s", l.Service, step.Seconds(), maxService.Seconds(), func(v float64) { last.Service = seconds(v) }},
	} {
		switch {
		case s.from == nil:
		case !(*s.from >= s.low && *s.from <= s.high):
			return fmt.Errorf("%s must be between %v and %v, got %v", s.name, s.low, s.high, *s.from)
		default:
			s.set(*s.from)
		}
	}
	return nil
}

// seconds is rounded to the simulation's resolution.
func seconds(v float64) time.Duration {
	return time.Duration(math.Round(v*float64(time.Second)/float64(step))) * step
}
