// Package simulate answers what would happen if: it lets a load meet instances
// that take their time to start, under a rule that decides how many there are.
//
// It promises that the rule of Wadi is the agent's own code, [scheduler.Windows],
// [scheduler.Evaluate] and [scheduler.Wake]; that another rule meets the very same
// load; and that the same trace gives the same answer every time. It leaves out
// what a real cluster has besides: placing takes no time, no instance is slower
// than another, and each takes the same time for a request until it is full.
package simulate

import (
	"time"

	"github.com/wadi-run/wadi"
)

// State is what a rule decides from.
type State struct {
	Now             time.Time
	Count           int // Asked for.
	Ready, Starting int
	Waiting         int       // Requests that wait for an instance.
	Inside          float64   // Requests in instances: the mean of the second before.
	Raised          time.Time // When the count last grew; zero: never.
	Grew            bool      // More requests wait than a second ago.
}

// Answer is what a rule decided.
type Answer struct {
	Count  int // Instances to ask for.
	Wanted int // By the load, before bounds.
	Rule   string
	Reason string
}

// Rule decides how many instances there are.
type Rule interface {
	// Begin is how many instances there are before the load begins.
	Begin(at time.Time) int
	// Capacity is how many requests one instance takes at once.
	Capacity() int
	// Wake is asked when a request comes and no instance was asked for.
	Wake(s State) Answer
	// Second is asked at each full second, and told what happened in it.
	Second(s State, second wadi.Sample) Answer
}

// Row is how things stand at a moment.
type Row struct {
	Seconds     float64 `json:"t_s"`
	Load        float64 `json:"load"` // Requests at once, waiting ones included: the mean of the second before.
	RPS         float64 `json:"rps"`  // Requests begun in the second before.
	Ready       int     `json:"ready"`
	Starting    int     `json:"starting"`
	Waiting     int     `json:"waiting"`
	Refused     int     `json:"refused"` // Since the row before.
	Late        int     `json:"late"`    // Since the row before.
	Wanted      int     `json:"wanted"`
	Desired     int     `json:"desired"`
	DecidedBy   string  `json:"rule"`
	Reason      string  `json:"reason"`
	lastRefused int
	lastLate    int
}

// Totals are of a whole trace.
type Totals struct {
	Requests        int           `json:"requests"`
	Refused         int           `json:"refused"` // No room to wait, or waited for too long.
	Late            int           `json:"late"`    // Answered after a wait that was too long.
	LongestWait     time.Duration `json:"-"`       // Of those that were answered.
	LongestWaitS    float64       `json:"longest_wait_s"`
	InstanceSeconds float64       `json:"instance_seconds"` // From being asked for to being told to stop.
	Peak            int           `json:"peak"`             // Most instances.
	Changes         int           `json:"changes"`          // How often the count was changed.

	instances time.Duration
}

// Run lets a trace meet a rule. Rows come at the beginning and after each every.
func Run(t Trace, r Rule, every time.Duration, row func(Row)) Totals {
	capacity := t.Capacity
	if capacity == 0 {
		capacity = r.Capacity()
	}
	c := newCluster(t, max(1, capacity), r.Begin(t.Begin))
	var (
		last     Answer
		previous Row
		waited   int
		second   wadi.Sample
		i        int
		p        Point
	)
	state := func() State {
		ready := c.ready()
		s := State{
			Now: t.Begin.Add(c.now), Count: len(c.instances), Ready: ready, Starting: len(c.instances) - ready,
			Waiting: c.queued, Inside: c.insideBefore, Grew: c.queued > waited,
		}
		if c.raised > 0 {
			s.Raised = t.Begin.Add(c.raised)
		}
		return s
	}
	for end := t.End(); ; c.pass() {
		if c.now > 0 && c.now%time.Second == 0 {
			second = c.sample()
			last = r.Second(state(), second)
			c.scale(last.Count)
			waited = c.queued
		}
		if c.now%every == 0 || c.now >= end {
			previous = c.row(previous, second, last)
			row(previous)
		}
		if c.now >= end {
			return c.total()
		}
		p, i = t.at(c.now, i)
		c.answer()
		if c.arrive(p) > 0 && len(c.instances) == 0 {
			last = r.Wake(state())
			c.scale(last.Count)
		}
		c.serve(p)
	}
}

func (c *cluster) row(previous Row, second wadi.Sample, last Answer) Row {
	ready := c.ready()
	return Row{
		Seconds: c.now.Seconds(), Load: second.Concurrency, RPS: second.Begun, Ready: ready, Starting: len(c.instances) - ready,
		Waiting: c.queued, Refused: c.totals.Refused - previous.lastRefused, Late: c.totals.Late - previous.lastLate,
		Wanted: last.Wanted, Desired: len(c.instances), DecidedBy: last.Rule, Reason: last.Reason,
		lastRefused: c.totals.Refused, lastLate: c.totals.Late,
	}
}

func (c *cluster) total() Totals {
	t := c.totals
	t.LongestWaitS, t.InstanceSeconds = t.LongestWait.Seconds(), t.instances.Seconds()
	return t
}
