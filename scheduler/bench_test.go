package scheduler_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// BenchmarkEvaluate is one evaluation of a revision, as the leader makes it every two
// seconds for each revision with instances.
func BenchmarkEvaluate(b *testing.B) {
	for name, load := range map[string]float64{"idle": 0, "busy": 150} {
		b.Run(name, func(b *testing.B) {
			in := evaluation(func(in *scheduler.EvalInput) {
				in.Loads.Concurrency.Stable, in.Loads.Concurrency.Panic = load, load
				in.Loads.Concurrency.Idle = 10 * time.Second
			}, running(2))
			var e scheduler.Evaluation
			b.ReportAllocs()
			for b.Loop() {
				e.Evaluate(&in)
				in.Deciders = e.Deciders
			}
		})
	}
}

// The leader evaluates every revision every two seconds: an evaluation that changes
// nothing must not allocate, and neither must an explanation that is not read.
func TestEvaluation_AllocatesNothing(t *testing.T) {
	load := func(v float64) func(*scheduler.EvalInput) {
		return func(in *scheduler.EvalInput) { in.Loads.Concurrency.Stable, in.Loads.Concurrency.Panic = v, v }
	}
	for name, set := range map[string]func(*scheduler.EvalInput){
		"load": load(120),
		"idle": func(in *scheduler.EvalInput) { in.Loads.Concurrency.Idle = 10 * time.Second },
		"min":  func(in *scheduler.EvalInput) { in.Scaling.Min = 2 },
		"max": func(in *scheduler.EvalInput) {
			load(300)(in)
			in.Scaling.Max = 2
			in.Scaling.PanicThresholdPercent = 1000
		},
		"partial":  func(in *scheduler.EvalInput) { in.Loads.Concurrency.Partial = true },
		"override": func(in *scheduler.EvalInput) { in.Override = wadi.Override{Count: 2, Until: at(2000), By: "alice"} },
		"two metrics": func(in *scheduler.EvalInput) {
			load(120)(in)
			in.Scaling.Metrics = append(in.Scaling.Metrics, wadi.RPS.Default())
			in.Loads.RPS = in.Loads.Concurrency
		},
	} {
		in := evaluation(running(2), set)
		var e scheduler.Evaluation
		e.Evaluate(&in)
		in.Deciders = e.Deciders
		if n := testing.AllocsPerRun(10, func() { e.Evaluate(&in) }); n > 0 {
			t.Errorf("%s: %g allocations, want none", name, n)
		}
	}
}
