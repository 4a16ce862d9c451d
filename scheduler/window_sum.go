package scheduler

import (
	"sort"

	"github.com/wadi-run/wadi"
)

// load is what counts of one second of a source. Seconds without load are not kept.
type load struct {
	second      int64
	concurrency float64
	begun       float64
}

// sum adds the source's load to two windows that end together.
func (s *source) sum(long, short *window, m wadi.Metric) {
	off := s.offset.value()
	pastLong, pastShort := sumLoads(s.past, long.from, short.from, long.to, m)
	sumLong, sumShort := sumLoads(s.loads, long.from-off, short.from-off, long.to-off, m)
	long.sum += pastLong + sumLong
	short.sum += pastShort + sumShort
}

// sumLoads adds up the loads from each of two seconds on up to a third.
func sumLoads(loads []load, long, short, to int64, m wadi.Metric) (sumLong, sumShort float64) {
	for _, l := range loads[firstOf(loads, min(long, short)):] {
		if l.second >= to {
			break
		}
		v := l.concurrency
		if m == wadi.RPS {
			v = l.begun
		}
		if l.second >= long {
			sumLong += v
		}
		if l.second >= short {
			sumShort += v
		}
	}
	return sumLong, sumShort
}

// at is the source's load in one second.
func (s *source) at(second int64, m wadi.Metric) float64 {
	n := second - s.offset.value()
	past, _ := sumLoads(s.past, second, second, second+1, m)
	sum, _ := sumLoads(s.loads, n, n, n+1, m)
	return past + sum
}

// firstOf is where the loads from a second on begin. That is as many before the end
// as there are seconds, or nearly: all that is looked at is added up next.
func firstOf(loads []load, from int64) int {
	n := len(loads)
	if n == 0 {
		return 0
	}
	i := n - int(min(int64(n), max(0, loads[n-1].second-from+1)))
	for i < n && loads[i].second < from {
		i++
	}
	for i > 0 && loads[i-1].second >= from { // Two processes may have begun and ended in one second.
		i--
	}
	return i
}

// dropLoads drops the loads before a second.
func dropLoads(loads []load, before int64) []load {
	i := sort.Search(len(loads), func(i int) bool { return loads[i].second >= before })
	if i == len(loads) {
		return nil
	}
	return loads[i:]
}
