package activator

import (
	"strconv"
	"time"
)

// furtherThan reports whether i has come further on its way to ready than o.
func (i *instance) furtherThan(o *instance) bool {
	switch {
	case i.ready != o.ready:
		return i.ready
	case i.answeredAt.IsZero() != o.answeredAt.IsZero():
		return o.answeredAt.IsZero()
	}
	return i.placed.Before(o.placed)
}

// phases splits the time from a request's arrival until now, when it is granted i, or
// refused. Then i may not be ready yet, or be nil, and the rest of the time belongs to
// the phase in which the request was last.
func (k *waker) phases(arrived time.Time, i *instance, now time.Time) *Phases {
	at := arrived
	// until is the time from the end of the last phase to t, if that is later.
	until := func(t time.Time) time.Duration {
		d := t.Sub(at)
		if t.IsZero() || d <= 0 {
			return 0
		}
		at = t
		return d
	}
	p := &Phases{}
	if begun := k.begunAt; i == nil && k.unplaced || i != nil && begun.Before(i.placed) {
		p.Queue = until(begun)
	}
	last := &p.Queue
	switch {
	case i != nil:
		p.Place, last = until(i.placed), &p.Start
		if !i.answeredAt.IsZero() {
			p.Start, last = until(i.answeredAt), &p.Probe
		}
		if i.ready {
			p.Probe, last = until(i.readyAt), &p.Turn
		}
	case k.unplaced:
		last = &p.Place
	}
	*last += until(now)
	return p
}

// serverTiming is p as the Server-Timing header has it, in milliseconds
// (https://www.w3.org/TR/server-timing/). Its parts add up to the time from the
// request's arrival to its answer.
func serverTiming(p *Phases, forward time.Duration) string {
	b := make([]byte, 0, 96)
	for _, phase := range p.named(forward) {
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = append(append(b, phase.name...), ";dur="...)
		b = strconv.AppendFloat(b, float64(phase.took)/float64(time.Millisecond), 'f', 1, 64)
	}
	return string(b)
}

// namedPhase is one phase as Server-Timing and the metrics have it.
type namedPhase struct {
	name string
	took time.Duration
}

// named lists the phases in their order, with the time at the instance as the last.
func (p *Phases) named(forward time.Duration) [5]namedPhase {
	return [...]namedPhase{
		{"queue", p.Queue + p.Turn}, {"place", p.Place}, {"start", p.Start}, {"probe", p.Probe}, {"forward", forward},
	}
}
