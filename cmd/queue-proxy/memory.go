package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
)

// headroom is about how much garbage may accumulate, in bytes. The collector's own rule,
// as much again as the live heap, makes it run hundreds of times a second in a process as
// small as this one under load, and doubles the memory of many connections.
const headroom = 16 << 20

// Bounds of the collector's percentage.
const (
	minPercent = 25
	maxPercent = 400
)

// manageMemory bounds the garbage collector by the task's memory in Nomad, and by
// headroom. GOMEMLIMIT and GOGC in the environment take precedence.
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

// memoryLimit is the collector's limit for a task with mib MiB, in bytes; 0: no limit. It is
// below the task's memory, beyond which the kernel kills the process with all requests.
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

// arm has collected called after the collector's next run.
func (t *tuner) arm() {
	runtime.SetFinalizer(&struct{ _ *tuner }{t}, func(any) {
		s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
		metrics.Read(s)
		t.collected(s[0].Value.Uint64() + s[1].Value.Uint64())
		t.arm()
	})
}

// collected sets the percentage for so many live bytes. A small change is not worth
// stopping the world for.
func (t *tuner) collected(live uint64) {
	want := percentFor(live)
	if d := want - t.percent; d > t.percent/4 || d < -t.percent/4 {
		t.percent = want
		t.set(want)
	}
}

// percentFor is how much garbage may accumulate with so many live bytes, in percent of them.
func percentFor(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), minPercent), maxPercent))
}
