package control

import (
	"maps"
	"sync"
	"time"
)

// emptyPeriods are for how long revisions have been seen without instances though Nomad
// should run some. The zero value is empty.
type emptyPeriods struct {
	mu      sync.Mutex
	periods map[string]emptyPeriod // By revision.
}

type emptyPeriod struct{ since, seen time.Time }

// emptyForgottenAfter is how long after the last wake an empty period is forgotten:
// waiting requests repeat a wake far sooner, and there may have been instances since.
const emptyForgottenAfter = time.Minute

// observe notes whether a revision is without instances now, and returns for how long it
// has been.
func (e *emptyPeriods) observe(revision string, empty bool) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !empty {
		delete(e.periods, revision)
		return 0
	}
	now := time.Now()
	p, ok := e.periods[revision]
	if !ok || now.Sub(p.seen) > emptyForgottenAfter {
		maps.DeleteFunc(e.periods, func(_ string, p emptyPeriod) bool { return now.Sub(p.seen) > emptyForgottenAfter })
		p.since = now
	}
	p.seen = now
	if e.periods == nil {
		e.periods = map[string]emptyPeriod{}
	}
	e.periods[revision] = p
	return now.Sub(p.since)
}
