package simulate

import (
	"time"

	"github.com/wadi-run/wadi"
)

// step is what the simulation tells apart.
const step = 10 * time.Millisecond

// batch is requests that came at one moment.
type batch struct {
	n  int
	at time.Duration
}

// cluster is the instances of one revision and the requests in them. Requests wait
// in one queue, and go to whichever instance has room.
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
	busy     time.Duration         // Request time of the second so far,
	served   time.Duration         // and what of it was not waiting.
	begun    int                   // Requests begun in the second so far.
	fraction float64               // Of the next request that is to come.
	quiet    bool                  // Nothing came in the step before.

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

// scale adds instances, or takes the newest away. Requests inside are answered.
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

// arrive takes in what the load sends in this step, and says how many came.
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
	room := max(0, c.trace.QueueDepth+max(0, c.ready()*c.capacity-c.inside)-c.queued)
	if n > room {
		c.totals.Refused += n - room
		n = room
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

// serve gives up what has waited for too long, and lets as many of the others in
// as there is room.
func (c *cluster) serve(p Point) {
	room := c.ready()*c.capacity - c.inside
	for len(c.waiting) > 0 {
		b := &c.waiting[0]
		waited := c.now - b.at
		n := min(b.n, room)
		switch {
		case waited > c.trace.QueueTimeout:
			n = b.n
			c.totals.Refused += n
		case n <= 0:
			return
		default:
			room -= n
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

// pass counts the step that is over.
func (c *cluster) pass() {
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
