package scheduler_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi/scheduler"
)

// BenchmarkEvaluate is one evaluation of a revision, which the leader makes every
// two seconds of each that runs.
func BenchmarkEvaluate(b *testing.B) {
	for name, load := range map[string]float64{"idle": 0, "busy": 150} {
		b.Run(name, func(b *testing.B) {
			in := evaluation(func(in *scheduler.EvalInput) {
				in.Loads.Concurrency.Stable, in.Loads.Concurrency.Panic = load, load
				in.Loads.Concurrency.Idle = 10 * time.Second
			}, running(2))
			b.ReportAllocs()
			for b.Loop() {
				_, in.Deciders = scheduler.Evaluate(in)
			}
		})
	}
}
