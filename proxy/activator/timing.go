package activator

import (
	"strconv"
	"time"
)

// phases says where the time of q went until it was granted i. The caller holds
// the mutex.
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
	if begun := r.cold.begunAt; begun.Before(i.placed) {
		p.Queue = until(begun)
	}
	p.Place = until(i.placed)
	p.Start = until(i.heardAt)
	p.Probe = until(i.readyAt)
	p.Turn = until(now)
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
