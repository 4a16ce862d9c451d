package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
)

// headroom is about how much garbage may lie around. The collector's own rule, as
// much again as lives, makes it run hundreds of times a second in a process as small
// as this one under load, and wastes as much again where there are many connections.
const headroom = 16 << 20

// Bounds of what follows from it, in percent of what lives.
const (
	minPercent = 25
	maxPercent = 400
)

// manageMemory has the collector of garbage keep to what Nomad gives the task, and
// to headroom. What the environment says to Go itself goes before that.
func manageMemory(getenv func(string) string) {
	if limit := memoryLimit(getenv("NOMAD_MEMORY_LIMIT")); limit > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if getenv("GOGC") == "" {
		t := &tuner{percent: maxPercent, set: func(percent int) { debug.SetGCPercent(percent) }}
		t.set(t.percent)
		t.arm()
	}
}

// memoryLimit is what the collector of garbage is to keep to where Nomad gives the
// task so many MiB: some less, as beyond them the kernel kills the process and with
// it all that is in flight. 0 is no limit.
func memoryLimit(mib string) int64 {
	n, err := strconv.ParseInt(mib, 10, 32)
	if err != nil || n <= 0 {
		return 0
	}
	return n << 20 / 100 * 85
}

// tuner sets the collector's percentage after each of its runs.
type tuner struct {
	percent int
	set     func(percent int)
}

// arm has the next run tell.
func (t *tuner) arm() {
	runtime.SetFinalizer(&struct{ _ *tuner }{t}, func(any) {
		s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
		metrics.Read(s)
		t.collected(s[0].Value.Uint64() + s[1].Value.Uint64())
		t.arm()
	})
}

// collected sets what is right where so many bytes live. A small change is not worth that
// the world stops for it.
func (t *tuner) collected(live uint64) {
	want := percentFor(live)
	if d := want - t.percent; d > t.percent/4 || d < -t.percent/4 {
		t.percent = want
		t.set(want)
	}
}

// percentFor is how much garbage, in percent, may be made where so many bytes live.
func percentFor(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), minPercent), maxPercent))
}
