package queue

// memoryName is Nomad's variable for a task's memory, in MiB.
const memoryName = "NOMAD_MEMORY_LIMIT"

// The bounds of requests and connections follow the task's memory, as each of them may
// stall until its deadline. A stalled transfer takes some 45 KiB, with the stacks of its
// goroutines; an HTTP/2 connection with one transfer, whose caller has sent ahead as much
// as it may, some 100.
const (
	ownMemory   = 20 // MiB: the idle process, and its large buffers.
	perRequest  = 48 // KiB.
	perHTTP2    = 120
	minBound    = 64
	maxRequests = 10_000
	maxHTTP2    = 4096
)

// maxInFlightFor is the default bound of requests of a task with mib MiB; 0: not known.
func maxInFlightFor(mib int) int {
	if mib <= 0 {
		return DefaultMaxInFlight
	}
	return min(max((mib-ownMemory)<<10/perRequest, minBound), maxRequests)
}

// maxHTTP2For is the bound of HTTP/2 connections of a task with mib MiB; 0: not known.
func maxHTTP2For(mib int) int {
	if mib <= 0 {
		mib = defaultMemory
	}
	return min(max((mib-ownMemory)<<10/perHTTP2, minBound), maxHTTP2)
}

// defaultMemory is the task's memory by package jobspecs, in MiB.
const defaultMemory = 64
