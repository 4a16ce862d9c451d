package control_test

import (
	"time"

	"github.com/wadi-run/wadi"
)

// Nomad's own times: it tries an instance four times, and then another one.
const (
	pullTime      = 100 * time.Millisecond // Until a registry has answered.
	pullRestart   = 1200 * time.Millisecond
	pullTries     = 4
	pullReplaced  = 5 * time.Second
	maxEndedKept  = 5
	tooManyReason = "task web: too many requests: it is tried again"
)

// lacking is what became of an instance's pulls.
type lacking struct {
	failure  wadi.PullFailure // Empty: it has its image now, or no try has ended yet.
	failedAt time.Time
	tries    int
	done     bool
}

func (l *lacking) now() bool { return l != nil && !l.done }

func (l *lacking) tell(ep *wadi.Endpoint) {
	if l == nil || l.failure == "" {
		return
	}
	ep.PullFailure, ep.PullFailedAt, ep.Problem = l.failure, l.failedAt.UnixNano(), l.diagnosis().Reason
	ep.Hopeless = ep.Ended && l.failure.Hopeless()
}

func (l *lacking) diagnosis() wadi.Diagnosis {
	if l.failure == "" {
		return wadi.Diagnosis{}
	}
	return wadi.Diagnosis{Reason: "task web: " + l.failure.String() + ": " + l.failure.Remedy(), Since: l.failedAt, Pull: l.failure}
}

// end keeps what an instance that ends tells; with the cluster's mu held.
func (j *job) end(a alloc) {
	if a.lacks.now() {
		j.ended = append(j.ended, a)
		j.ended = j.ended[max(0, len(j.ended)-maxEndedKept):]
	}
}

// pullLater has an instance's image asked for after a time, unless the instance has ended
// by then.
func (c *cluster) pullLater(id string, a alloc, after time.Duration) {
	time.AfterFunc(after, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		j := c.jobs[id]
		if j == nil || len(j.allocs) == 0 || j.allocs[0].id != a.id {
			return
		}
		defer c.change()
		c.pulls = append(c.pulls, time.Now())
		l := a.lacks
		if l.failure = c.lackImages[id]; l.failure == "" {
			l.done = true
			return
		}
		l.failedAt = time.Now()
		if l.tries++; l.tries < pullTries {
			c.pullLater(id, a, pullRestart)
			return
		}
		j.end(a)
		j.allocs = nil
		time.AfterFunc(pullReplaced, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if n := c.jobs[id]; n == j && j.Count > 0 && len(j.allocs) == 0 {
				c.nextID++
				next := alloc{id: "again-" + a.id, placed: time.Now(), lacks: &lacking{}}
				j.allocs = append(j.allocs, next)
				c.pullLater(id, next, pullTime)
				c.change()
			}
		})
	})
}

// asked is how often an image was asked for since a time.
func (c *cluster) asked(since time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.pulls {
		if !at.Before(since) {
			n++
		}
	}
	return n
}

// image says why a revision's image can't be had; empty: it can.
func (c *cluster) image(id string, why wadi.PullFailure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lackImages == nil {
		c.lackImages = map[string]wadi.PullFailure{}
	}
	c.lackImages[id] = why
}
