package main

import (
	"fmt"
	"testing"
)

// BenchmarkPass is one evaluation of 10,000 revisions. It reports CPU time too, which
// other work on the machine changes less. -cpuprofile shows where it goes.
func BenchmarkPass(b *testing.B) {
	for _, count := range []int{1, 0} {
		b.Run(fmt.Sprintf("count=%d", count), func(b *testing.B) {
			s := newStage(scalingRevisions, count)
			s.fill()
			a := s.autoscaler()
			a.Pass(b.Context()) // The first pass allocates what later ones reuse.
			b.ReportAllocs()
			used := ownCPU()
			for b.Loop() {
				a.Pass(b.Context())
			}
			b.ReportMetric(ms(ownCPU()-used)/float64(b.N), "CPU-ms/op")
		})
	}
}

// A pass in which nothing changes allocates nothing, however many revisions there are.
func TestPass_AllocatesNothing(t *testing.T) {
	for _, count := range []int{1, 0} {
		s := newStage(200, count)
		s.fill()
		a := s.autoscaler()
		a.Pass(t.Context())
		if n := testing.AllocsPerRun(20, func() { a.Pass(t.Context()) }); n > 20 {
			t.Errorf("with %d instances: %g allocations, want a few for all", count, n)
		}
	}
}
