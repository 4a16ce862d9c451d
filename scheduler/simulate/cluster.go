package simulate

import (
	"time"

	"github.com/wadi-run/wadi"
)

// step is the resolution of the simulation.
const step = 10 * time.Millisecond

// batch is requests that arrived at one moment.
type batch struct {
	n  int
	at time.Duration
}

// cluster is the instances of one revision and the requests in them. Requests wait in one
// queue, and go to any instance with a free slot.
type cluster struct {
	trace    Trace
	capacity int

	now       time.Duration
	instances []time.Duration // When each is ready, oldest first.
	raised    time.Duration   // When instances were last added.

	waiting  []batch
	queued   int
	inside   int
	finish   map[time.Duration]int // How many requests end, by when.
	busy     time.Duration         // Request time of this second so far,
	served   time.Duration         // and the part of it in instances.
	begun    int                   // Requests begun in this second so far.
	fraction float64               // Of the next request to arrive.
	quiet    bool                  // The load was zero in the step before.

	insideBefore float64 // Requests in instances: the mean of the last full second.

	totals Totals
}

func newCluster(t Trace, capacity, count int) *cluster {
	c := &cluster{trace: t, capacity: capacity, finish: map[time.Duration]int{}, quiet: true}
	for range count {
		c.instances = append(c.instances, 0)
	}
	c.totals.Peak = count
	return c
}

func (c *cluster) ready() int {
	n := 0
	for _, at := range c.instances {
		if at <= c.now {
			n++
		}
	}
	return n
}

// scale adds instances, or removes the newest. Requests in removed instances are still
// answered.
func (c *cluster) scale(count int) {
	switch have := len(c.instances); {
	case count == have:
		return
	case count < have:
		c.instances = c.instances[:count]
	default:
		for range count - have {
			c.instances = append(c.instances, c.now+c.trace.StartUp)
		}
		c.raised = c.now
	}
	c.totals.Changes++
	c.totals.Peak = max(c.totals.Peak, count)
}

// arrive queues the requests of this step, and returns how many came.
func (c *cluster) arrive(p Point) int {
	n := 0
	if p.Concurrency > 0 {
		n = max(0, int(p.Concurrency+0.5)-c.inside-c.queued)
		c.quiet = false
	} else {
		rate := p.RPS * step.Seconds()
		if rate > 0 && c.quiet {
			c.fraction = max(c.fraction, 1-rate) // The first one comes at once.
		}
		c.quiet = rate <= 0
		c.fraction += rate
		n = int(c.fraction + 1e-9)
		c.fraction -= float64(n)
	}
	if n == 0 {
		return 0
	}
	c.totals.Requests += n
	c.begun += n
	slots := max(0, c.trace.QueueDepth+max(0, c.ready()*c.capacity-c.inside)-c.queued)
	if n > slots {
		c.totals.Refused += n - slots
		n = slots
	}
	if n > 0 {
		c.waiting = append(c.waiting, batch{n, c.now})
		c.queued += n
	}
	return n
}

// answer ends the requests that are done.
func (c *cluster) answer() {
	if n := c.finish[c.now]; n > 0 {
		c.inside -= n
		delete(c.finish, c.now)
	}
}

// serve refuses requests that have waited for too long, and starts others while there are
// free slots.
func (c *cluster) serve(p Point) {
	slots := c.ready()*c.capacity - c.inside
	for len(c.waiting) > 0 {
		b := &c.waiting[0]
		waited := c.now - b.at
		n := min(b.n, slots)
		switch {
		case waited > c.trace.QueueTimeout:
			n = b.n
			c.totals.Refused += n
		case n <= 0:
			return
		default:
			slots -= n
			c.inside += n
			c.finish[c.now+p.Service] += n
			if waited > c.trace.LateAfter {
				c.totals.Late += n
			}
			c.totals.LongestWait = max(c.totals.LongestWait, waited)
		}
		b.n -= n
		c.queued -= n
		if b.n == 0 {
			c.waiting = c.waiting[1:]
		}
	}
}

// advance accounts for the step, and moves the clock.
func (c *cluster) advance() {
	c.busy += time.Duration(c.inside+c.queued) * step
	c.served += time.Duration(c.inside) * step
	c.totals.instances += time.Duration(len(c.instances)) * step
	c.now += step
}

// sample is what happened in the second that has just ended.
func (c *cluster) sample() wadi.Sample {
	s := wadi.Sample{N: int64(c.now/time.Second) - 1, Concurrency: c.busy.Seconds(), Begun: float64(c.begun)}
	c.insideBefore = c.served.Seconds()
	c.busy, c.served, c.begun = 0, 0, 0
	return s
}
