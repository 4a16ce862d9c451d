package activator

import (
	"strconv"
	"time"
)

// phasesInVain says where the time of q went, which is refused: by the instance that
// came furthest. The caller holds the mutex.
func (r *revision) phasesInVain(q *request, now time.Time) *Phases {
	var best *instance
	for _, i := range r.instances {
		if !i.stopping && (best == nil || i.furtherThan(best)) {
			best = i
		}
	}
	return r.phases(q, best, now)
}

func (i *instance) furtherThan(o *instance) bool {
	switch {
	case i.ready != o.ready:
		return i.ready
	case i.heardAt.IsZero() != o.heardAt.IsZero():
		return o.heardAt.IsZero()
	}
	return i.placed.Before(o.placed)
}

// phases says where the time of q went until now, when it is granted i, or refused.
// Then i may not be ready yet, or be nil, and what is left belongs to the part in
// which q waited last. The caller holds the mutex.
func (r *revision) phases(q *request, i *instance, now time.Time) *Phases {
	at := q.arrived
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
	if begun := r.cold.begunAt; i == nil && r.cold.unplaced || i != nil && begun.Before(i.placed) {
		p.Queue = until(begun)
	}
	last := &p.Queue
	switch {
	case i != nil:
		p.Place, last = until(i.placed), &p.Start
		if !i.heardAt.IsZero() {
			p.Start, last = until(i.heardAt), &p.Probe
		}
		if i.ready {
			p.Probe, last = until(i.readyAt), &p.Turn
		}
	case r.cold.unplaced:
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
	for _, part := range p.parts(forward) {
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = append(append(b, part.name...), ";dur="...)
		b = strconv.AppendFloat(b, float64(part.took)/float64(time.Millisecond), 'f', 1, 64)
	}
	return string(b)
}

type part struct {
	name string
	took time.Duration
}

// parts are the names of the phases, in their order: as Server-Timing and the
// metrics have them.
func (p *Phases) parts(forward time.Duration) [5]part {
	return [...]part{
		{"queue", p.Queue + p.Turn}, {"place", p.Place}, {"start", p.Start}, {"probe", p.Probe}, {"forward", forward},
	}
}
