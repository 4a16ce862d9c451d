// Package simulate answers what-if questions: a load meets instances that take time to
// start, under a rule that decides how many there are.
//
// It promises that the rule of Wadi is the agent's own code, [scheduler.Windows],
// [scheduler.Evaluate] and [scheduler.Wake]; that another rule meets the very same load;
// and that the same trace gives the same answer every time. It leaves out other parts of a
// real cluster: placing takes no time, all instances are equally fast, and a request takes
// the same time until the instance is full.
package simulate

import (
	"time"

	"github.com/wadi-run/wadi"
)

// State is what a rule decides from.
type State struct {
	Now             time.Time
	Count           int // Instances requested.
	Ready, Starting int
	Waiting         int       // Requests that wait for an instance.
	Inside          float64   // Requests in instances: the mean of the second before.
	Raised          time.Time // When the count last grew; zero: never.
	Grew            bool      // More requests wait than at the last full second.
}

// Answer is what a rule decided.
type Answer struct {
	Count  int // Instances to ask for.
	Wanted int // For the load, before bounds.
	Rule   string
	Reason string
}

// Rule decides how many instances there are.
type Rule interface {
	// Begin is how many instances there are before the load begins.
	Begin(at time.Time) int
	// Capacity is how many requests one instance takes at once.
	Capacity() int
	// Wake is called when a request comes and the count is zero.
	Wake(s State) Answer
	// Second is called at each full second with what happened in it.
	Second(s State, second wadi.Sample) Answer
}

// Row is the state at a moment.
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
	Refused         int           `json:"refused"` // The queue was full, or they waited for too long.
	Late            int           `json:"late"`    // Answered after a wait longer than late_after_s.
	LongestWait     time.Duration `json:"-"`       // Of the answered requests.
	LongestWaitS    float64       `json:"longest_wait_s"`
	InstanceSeconds float64       `json:"instance_seconds"` // From being requested to being stopped.
	Peak            int           `json:"peak"`             // Most instances.
	Changes         int           `json:"changes"`          // How often the count was changed.

	instances time.Duration
}

// Run simulates a trace under a rule. It reports a row at the beginning, after each
// every and at the end.
func Run(t Trace, r Rule, every time.Duration, row func(Row)) Totals {
	capacity := t.Capacity
	if capacity == 0 {
		capacity = r.Capacity()
	}
	s := simulation{cluster: newCluster(t, max(1, capacity), r.Begin(t.Begin)), trace: t, rule: r}
	for end := t.End(); ; s.cluster.advance() {
		s.decideEachSecond()
		if s.cluster.now%every == 0 || s.cluster.now >= end {
			s.row = s.cluster.row(s.row, s.second, s.answer)
			row(s.row)
		}
		if s.cluster.now >= end {
			return s.cluster.total()
		}
		s.step()
	}
}

// simulation is the state of a run between two steps.
type simulation struct {
	cluster *cluster
	trace   Trace
	rule    Rule

	answer Answer      // The rule's last one.
	row    Row         // The last one reported.
	second wadi.Sample // The last full second.
	queued int         // Requests that waited at its end.
	point  int         // Index of the trace's current point.
}

// decideEachSecond asks the rule at each full second.
func (s *simulation) decideEachSecond() {
	c := s.cluster
	if c.now == 0 || c.now%time.Second != 0 {
		return
	}
	s.second = c.sample()
	s.answer = s.rule.Second(s.state(), s.second)
	c.scale(s.answer.Count)
	s.queued = c.queued
}

// step ends requests, lets new ones arrive, wakes the service from zero, and starts
// requests in free instances.
func (s *simulation) step() {
	c := s.cluster
	var p Point
	p, s.point = s.trace.at(c.now, s.point)
	c.answer()
	if c.arrive(p) > 0 && len(c.instances) == 0 {
		s.answer = s.rule.Wake(s.state())
		c.scale(s.answer.Count)
	}
	c.serve(p)
}

// state is what the rule decides from.
func (s *simulation) state() State {
	c := s.cluster
	ready := c.ready()
	st := State{
		Now: s.trace.Begin.Add(c.now), Count: len(c.instances), Ready: ready, Starting: len(c.instances) - ready,
		Waiting: c.queued, Inside: c.insideBefore, Grew: c.queued > s.queued,
	}
	if c.raised > 0 {
		st.Raised = s.trace.Begin.Add(c.raised)
	}
	return st
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
