package main

import (
	"fmt"
	"slices"
	"time"
)

// reading is one value of a series.
type reading struct {
	At    time.Duration // Since the traffic began.
	Value float64
}

// tolerance is by how much the level at rest may rise: by a fixed amount, by a share of
// where it began, or by as much as it varies within a third of the span, whichever is most.
type tolerance struct{ Least, Share float64 }

// span is the part of a run that is judged.
type span struct{ From, To time.Duration }

// judged is the span of a run: all but its first ten minutes, in which pools, caches and
// the runtime's heap fill, and all but its first third where it is shorter.
func judged(run time.Duration) span { return span{min(warmUp, run/3), run} }

const (
	warmUp = 10 * time.Minute

	// minFloors is how many rests a series needs in a span: one for each third.
	minFloors = 3
)

// trend is how the level of a series at rest has moved.
type trend struct {
	First float64 `json:"first"` // Median of the levels in the first third of the rests,
	Last  float64 `json:"last"`  // and in the last third.
	Bound float64 `json:"bound"` // By how much Last may be above First.
	Sees  float64 `json:"sees"`  // The growth per hour from which on it is not flat.
}

// Flat reports whether the series does not grow.
func (t trend) Flat() bool { return t.Last-t.First <= t.Bound }

// judge says whether a series grows. Its traffic comes in cycles that each end with a rest,
// so the least reading of a cycle is what is kept when nothing is going on: a leak is what
// that level gains. The median of the levels in the last third of the span is compared with
// the median in the first third, so single readings, and bursts that pass, change nothing.
//
// The middles of the two thirds are two thirds of the span apart. So a leak of more than
// bound ÷ (2/3 of the span) is seen: with the span of an hour's run, 50 minutes, 1.8 times
// the bound per hour. A leak is never hidden by its own variation: it grows by twice as much
// between the middles of the thirds as within one. Steps count like slopes, as a cache that
// filled up late is no leak only if its bound is in the tolerance.
func judge(series []reading, s span, cycle time.Duration, tol tolerance) (trend, error) {
	levels := floors(series, s, cycle)
	if len(levels) < minFloors {
		return trend{}, fmt.Errorf("read at rest %d times, want %d", len(levels), minFloors)
	}
	third := len(levels) / 3
	first := median(levels[:third])
	last := levels[len(levels)-third:]
	bound := max(tol.Least, tol.Share*first, variation(levels[:third]), variation(last))
	return trend{
		First: first, Last: median(last), Bound: bound,
		Sees: bound / (2.0 / 3 * (s.To - s.From).Hours()),
	}, nil
}

// floors is the least reading of each cycle that lies wholly within a span.
func floors(series []reading, s span, cycle time.Duration) []float64 {
	least := map[int64]float64{}
	first, end := int64((s.From+cycle-1)/cycle), int64(s.To/cycle)
	for _, r := range series {
		n := int64(r.At / cycle)
		if had, ok := least[n]; n >= first && n < end && (!ok || r.Value < had) {
			least[n] = r.Value
		}
	}
	var out []float64
	for n := first; n < end; n++ {
		if v, ok := least[n]; ok {
			out = append(out, v)
		}
	}
	return out
}

// variation is how far apart values are.
func variation(values []float64) float64 { return slices.Max(values) - slices.Min(values) }

// median is the middle value; of an even number the lower of the two, so that one outlier
// of two does not count.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
