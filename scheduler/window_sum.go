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
	var pastLong, pastShort float64
	if len(s.past) > 0 {
		pastLong, pastShort = sumLoads(s.past[indexOf(s.past, min(long.from, short.from)):], long.from, short.from, long.to, m)
	}
	from := min(long.from, short.from) - off
	sumLong, sumShort := sumLoads(s.loads[s.index(from):], long.from-off, short.from-off, long.to-off, m)
	long.sum += pastLong + sumLong
	short.sum += pastShort + sumShort
}

// sumLoads adds up the loads from each of two seconds on up to a third.
func sumLoads(loads []load, long, short, to int64, m wadi.Metric) (sumLong, sumShort float64) {
	for _, l := range loads {
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
	past, _ := sumLoads(s.past[indexOf(s.past, second):], second, second, second+1, m)
	sum, _ := sumLoads(s.loads[s.index(n):], n, n, n+1, m)
	return past + sum
}

// index is where in loads the first one at or after a second of the source stands.
// There is at most one for each second up to the next, so of a busy source it is just
// as many before the end: nothing is looked at that is not read next.
func (s *source) index(second int64) int {
	i := len(s.loads) - int(min(int64(len(s.loads)), max(0, s.next-second)))
	return i + indexOf(s.loads[i:], second)
}

// indexOf is where the first of loads at or after a second stands.
func indexOf(loads []load, second int64) int {
	if len(loads) == 0 || loads[0].second >= second {
		return 0
	}
	return sort.Search(len(loads), func(i int) bool { return loads[i].second >= second })
}

// dropLoads drops the loads before a second.
func dropLoads(loads []load, before int64) []load {
	i := indexOf(loads, before)
	if i == len(loads) {
		return nil
	}
	return loads[i:]
}
