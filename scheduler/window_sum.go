package scheduler

import (
	"sort"

	"github.com/wadi-run/wadi"
)

// load is a source's load in one second. Seconds without load are not kept.
type load struct {
	second int64
	amount
	proxied amount // Of an instance: what came through activators, which count it.
}

// amount is requests, by both metrics.
type amount struct{ concurrency, begun float64 }

func (a amount) none() bool { return !(a.concurrency > 0 || a.begun > 0) }

func (a amount) by(m wadi.Metric) float64 {
	if m == wadi.RPS {
		return a.begun
	}
	return a.concurrency
}

func (a *amount) add(o amount) {
	a.concurrency += o.concurrency
	a.begun += o.begun
}

// sum adds the source's load to two windows that end together.
func (s *source) sum(long, short *window) {
	off := s.offset.value()
	activator := s.kind == wadi.SourceActivator
	if len(s.past) > 0 {
		sumLoads(s.past[indexOf(s.past, min(long.from, short.from)):], 0, long, short, activator)
	}
	sumLoads(s.loads[s.index(min(long.from, short.from)-off):], off, long, short, activator)
}

// sumLoads adds loads to two windows that end together.
func sumLoads(loads []load, offset int64, long, short *window, activator bool) {
	for i := range loads {
		l := &loads[i]
		second := l.second + offset
		if second >= long.to {
			break
		}
		if second >= long.from {
			long.add(l, activator)
		}
		if second >= short.from {
			short.add(l, activator)
		}
	}
}

// at is the source's load in one second.
func (s *source) at(second int64, m wadi.Metric) float64 {
	w := window{span64: span64{second, second + 1}}
	var none window
	none.to = second + 1
	none.from = none.to
	s.sum(&w, &none)
	return w.direct.by(m)
}

// index is the position in loads of the first one at or after a second of the source.
// There is at most one load per second, so it can't be further from the end than the
// seconds up to next.
func (s *source) index(second int64) int {
	i := len(s.loads) - int(min(int64(len(s.loads)), max(0, s.next-second)))
	return i + indexOf(s.loads[i:], second)
}

// indexOf is the position of the first load at or after a second.
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
