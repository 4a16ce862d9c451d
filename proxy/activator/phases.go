package activator

import (
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
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
	var pull interval
	if i != nil {
		pull = i.pulled(now)
	}
	// without is the time until t, except for the pull, which p.Pull gets.
	without := func(t time.Time) time.Duration {
		from := at
		d := until(t)
		pulled := pull.within(from, at)
		p.Pull += pulled
		return d - pulled
	}
	if begun := k.begunAt; i == nil && k.unplaced || i != nil && begun.Before(i.placed) {
		p.Queue = until(begun)
	}
	last := &p.Queue
	switch {
	case i != nil:
		p.Place, last = until(i.placed), &p.Start
		if !i.answeredAt.IsZero() {
			p.Start, last = without(i.answeredAt), &p.Probe
			p.PullBefore = p.Pull
		}
		if i.answeredAt.IsZero() {
			p.Start += without(now)
			p.PullBefore = p.Pull
		}
		if i.ready {
			p.Probe, last = without(i.readyAt), &p.Turn
		} else {
			*last += without(now)
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

// interval is from one time to another; the zero value is none.
type interval struct{ from, to time.Time }

// within is how much of v is between two times.
func (v interval) within(from, to time.Time) time.Duration {
	if v.from.After(from) {
		from = v.from
	}
	if v.to.Before(to) {
		to = v.to
	}
	return max(0, to.Sub(from))
}

// pulled is when the images of i were pulled, by the agent's clock. The node's clock may be
// another: only what passed by it since the node got the instance counts, from when the
// agent saw it placed. Nomad reports the end of a pull some time after it; until then, and
// at the latest, it lasts until i is ready.
func (i *instance) pulled(now time.Time) interval {
	if i.pull == (wadi.PullTime{}) {
		return interval{}
	}
	v := interval{from: i.placed.Add(i.pull.After)}
	v.to = v.from.Add(i.pull.Took)
	if i.pull.Ongoing {
		v.to = now
	}
	return v
}

// named lists the phases in their order, with the time at the instance as the last.
// A pull is among them only if there was one.
func (p *Phases) named(forward time.Duration) []namedPhase {
	all := [...]namedPhase{
		{"queue", p.Queue + p.Turn}, {"place", p.Place}, {"pull", p.Pull}, {"start", p.Start}, {"probe", p.Probe}, {"forward", forward},
	}
	if p.Pull > 0 {
		return all[:]
	}
	return append(all[:2], all[3:]...)
}
