package simulate

import (
	"fmt"
	"math"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
	"github.com/wadi-run/wadi/scheduler"
)

// Wadi is the agent's rule for one service.
type Wadi struct {
	scaling wadi.Scaling
	limit   int
	ceiling int
	clock   *calendar.Calendar

	windows  *scheduler.Windows
	begin    time.Time
	deciders wadi.Deciders
	start    scheduler.Start
	last     wadi.Decision
}

// maxStart is how long a start may take: longer than any that is simulated.
const maxStart = 24 * time.Hour

// everything is the name of the only source of statistics.
const everything = "all"

// NewWadi makes the rule from a service's scaling, an instance's concurrency limit and the
// agent's limit of instances; 0: none. Metrics of cpu and memory are ignored, as a trace
// does not have those loads.
func NewWadi(s wadi.Scaling, limit, ceiling int) (*Wadi, error) {
	clock, err := calendar.New(s.Schedules)
	if err != nil {
		return nil, err
	}
	var requests []wadi.MetricTarget
	for _, m := range s.Metrics {
		if m.Metric.OfRequests() {
			requests = append(requests, m)
		}
	}
	s.Metrics = requests
	return &Wadi{scaling: s, limit: limit, ceiling: ceiling, clock: clock}, nil
}

// Begin is the floor.
func (w *Wadi) Begin(at time.Time) int {
	w.begin = at
	w.windows = scheduler.NewWindows(at, w.scaling.Window.D())
	w.windows.SourceUp(everything, wadi.SourceActivator, at)
	d, _ := scheduler.Evaluate(w.input(State{Now: at}))
	return d.Floor.Count
}

// Capacity is the concurrency limit, or what an instance can carry by its target.
func (w *Wadi) Capacity() int {
	if w.limit > 0 {
		return w.limit
	}
	for _, m := range w.scaling.Metrics {
		if m.Metric == wadi.Concurrency && m.Target > 0 {
			return int(math.Ceil(m.Target))
		}
	}
	return int(wadi.Concurrency.Default().Target)
}

// Wake is what every agent does when a request waits and no instance runs.
func (w *Wadi) Wake(s State) Answer {
	top := w.scaling.Max
	if top == 0 {
		top = w.ceiling
	}
	a := scheduler.Wake(scheduler.WakeState{Job: scheduler.JobState{Exists: true}, Activation: w.scaling.Activation, Max: top})
	return Answer{Count: a.Count, Wanted: a.Count, Rule: "wake", Reason: a.Reason}
}

// Second measures, and decides every two seconds and when the queue has grown.
func (w *Wadi) Second(s State, second wadi.Sample) Answer {
	st := wadi.Stats{Source: everything, Boot: everything, Now: second.N + 1}
	if second.Concurrency > 0 || second.Begun > 0 {
		st.Samples = []wadi.Sample{second}
	}
	w.windows.Report(everything, second.N, st, s.Now)
	if st.Now%2 == 0 || s.Grew {
		in := w.input(s)
		if s.Count > 0 || !scheduler.AtRest(&in) {
			w.last, w.deciders = scheduler.Evaluate(in)
			if !scheduler.Change(&w.last) {
				w.last.Desired = s.Count
			}
		} else {
			w.last = wadi.Decision{Rule: scheduler.RuleZero, Reason: "at zero: a request wakes it"}
		}
		return Answer{Count: w.last.Desired, Wanted: w.last.Wanted, Rule: w.last.Rule, Reason: w.last.Reason}
	}
	return Answer{Count: s.Count, Wanted: w.last.Wanted, Rule: w.last.Rule, Reason: w.last.Reason}
}

func (w *Wadi) input(s State) scheduler.EvalInput {
	sc := w.scaling
	w.start = w.start.Next(s.Now, s.Count, s.Ready, true)
	in := scheduler.EvalInput{
		Start: w.start, Progress: maxStart,
		Now: s.Now, Scaling: &w.scaling, Calendar: w.clock, ConcurrencyLimit: w.limit, Ceiling: w.ceiling,
		Routed: true, WasReady: true, Wakeable: true, Count: s.Count, Raised: s.Raised,
		Ready: s.Ready, ReadyKnown: true, Starting: s.Starting, Deciders: w.deciders,
	}
	window, panicking := sc.Window.D(), scheduler.PanicWindow(sc.Window.D(), sc.PanicWindowPercent)
	for _, m := range []wadi.Metric{wadi.Concurrency, wadi.RPS} {
		*in.Loads.Of(m) = w.windows.Averages(s.Now, window, panicking, m)
	}
	return in
}

// TargetValue is the default rule of the Nomad Autoscaler: every ten seconds, count times
// load by target, rounded up, unless it is within a hundredth of it; then a cooldown of
// five minutes. It does not go to zero. Here its metric is the load of the last ten
// seconds per instance.
type TargetValue struct {
	Target   float64 // Concurrent requests that an instance should carry.
	Served   bool    // Its metric leaves out requests that wait.
	Limit    int     // Concurrent requests that an instance takes.
	Max      int     // Instances; 0: no bound.
	loads    []float64
	cooledAt time.Time
	last     Answer
}

// The defaults of the Nomad Autoscaler's policies and its strategy target-value.
const (
	evaluationInterval = 10
	cooldown           = 5 * time.Minute
	deadBand           = 0.01
)

// Begin is one instance: the rule refuses zero.
func (v *TargetValue) Begin(time.Time) int { return 1 }

// Capacity is the limit.
func (v *TargetValue) Capacity() int { return v.Limit }

// Wake is never called, as the count is never zero.
func (v *TargetValue) Wake(s State) Answer { return Answer{Count: s.Count} }

// Second decides every ten seconds.
func (v *TargetValue) Second(s State, second wadi.Sample) Answer {
	load := second.Concurrency
	if v.Served {
		load = s.Inside
	}
	v.loads = append(v.loads, load)
	v.last.Count = s.Count
	if len(v.loads) < evaluationInterval {
		return v.last
	}
	var sum float64
	for _, l := range v.loads {
		sum += l
	}
	perInstance := sum / float64(len(v.loads)) / float64(s.Count)
	v.loads = v.loads[:0]
	if s.Now.Before(v.cooledAt) {
		v.last.Rule, v.last.Reason = "cooldown", fmt.Sprintf("cools down for %s more", v.cooledAt.Sub(s.Now))
		return v.last
	}
	factor := perInstance / v.Target
	want := max(1, int(math.Ceil(float64(s.Count)*factor)))
	if v.Max > 0 {
		want = min(want, v.Max)
	}
	v.last = Answer{Count: s.Count, Wanted: want, Rule: "target-value", Reason: fmt.Sprintf("%.2f of the target", factor)}
	if math.Abs(factor-1) > deadBand && want != s.Count {
		v.last.Count = want
		v.cooledAt = s.Now.Add(cooldown)
	}
	return v.last
}
