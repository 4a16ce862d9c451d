package queue

// memoryName is how Nomad tells a task its memory, in MiB.
const memoryName = "NOMAD_MEMORY_LIMIT"

// What may be here at once follows the task's memory: each request and each connection
// may stall for as long as its time lasts. A stalled transfer holds some 45 KiB, with
// the stacks of its goroutines; a connection of HTTP/2 with one in it, whose caller has
// sent as much ahead as it may, some 100.
const (
	ownMemory   = 20 // MiB: the process with next to nothing to do, and its large buffers.
	perRequest  = 48 // KiB.
	perHTTP2    = 120
	minBound    = 64
	maxRequests = 10_000
	maxHTTP2    = 4096
)

// maxInFlightFor is the bound of requests where nothing else is said and the task has
// so many MiB; 0 is not known.
func maxInFlightFor(mib int) int {
	if mib <= 0 {
		return DefaultMaxInFlight
	}
	return min(max((mib-ownMemory)<<10/perRequest, minBound), maxRequests)
}

// maxHTTP2For is the same for connections of HTTP/2.
func maxHTTP2For(mib int) int {
	if mib <= 0 {
		mib = defaultMemory
	}
	return min(max((mib-ownMemory)<<10/perHTTP2, minBound), maxHTTP2)
}

// defaultMemory is what package jobspecs gives the task.
const defaultMemory = 64
