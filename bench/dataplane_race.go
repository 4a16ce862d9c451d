package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// race is contenders in front of one origin that take turns.
type race struct {
	lanes   []*lane
	missing []string // Why contenders are missing.
}

// lane is one contender with its measurements.
type lane struct {
	*contender
	client *client
	turns  []turn
}

// turn is one contender's turn in one round.
type turn struct {
	cpu, first, beside, lasted time.Duration // first is the CPU time of the first process alone.
	answered                   int64
}

// each is the CPU seconds per request, over all turns.
func (l *lane) each() float64 { return l.perAnswer(func(t turn) time.Duration { return t.cpu }) }

// perAnswer is seconds of something per request, over all turns.
func (l *lane) perAnswer(of func(turn) time.Duration) float64 {
	var sum time.Duration
	var n int64
	for _, t := range l.turns {
		sum, n = sum+of(t), n+t.answered
	}
	return sum.Seconds() / float64(n)
}

// rate is the answers per second.
func (l *lane) rate() float64 {
	var lasted time.Duration
	var n int64
	for _, t := range l.turns {
		lasted, n = lasted+t.lasted, n+t.answered
	}
	return float64(n) / lasted.Seconds()
}

func (t turn) each() float64 { return t.cpu.Seconds() / float64(t.answered) }

// race starts the contenders. A contender that is not installed is left out, with a note.
func (p *plane) race(ctx context.Context, labels ...string) (*race, error) {
	r := &race{}
	for _, label := range labels {
		c, err := p.start(ctx, label)
		if missing := (*missingError)(nil); errors.As(err, &missing) {
			r.missing = append(r.missing, label+": "+missing.Error())
			continue
		}
		if err != nil {
			return nil, errors.Join(err, r.stop())
		}
		r.lanes = append(r.lanes, &lane{contender: c})
	}
	return r, nil
}

func (r *race) stop() error {
	var errs []error
	for _, l := range r.lanes {
		if l.client != nil {
			l.client.close()
		}
		errs = append(errs, l.contender.stop())
	}
	return errors.Join(errs...)
}

func (r *race) reset() {
	for _, l := range r.lanes {
		l.turns = nil
	}
}

// run lets all lanes take their turns, in reverse order every other round, after a round
// that opens the connections and is not counted.
func (r *race) run(ctx context.Context, of func(*lane) shot, conns, rounds int) error {
	if err := r.connect(ctx, of, conns); err != nil {
		return err
	}
	order := slices.Clone(r.lanes)
	for range rounds {
		for _, l := range order {
			if err := l.measure(ctx, of(l)); err != nil {
				return fmt.Errorf("%s: %w", l.label, err)
			}
		}
		slices.Reverse(order)
	}
	return nil
}

// connect gives every lane a client, and warms it up with a load that is not counted.
func (r *race) connect(ctx context.Context, of func(*lane) shot, conns int) (err error) {
	for _, l := range r.lanes {
		if err := l.connect(ctx, of(l), conns); err != nil {
			return err
		}
	}
	return nil
}

// connect opens a lane's connections anew, and has each send something.
func (l *lane) connect(ctx context.Context, s shot, conns int) (err error) {
	if l.client != nil {
		l.client.close()
	}
	if l.client, err = newClient(ctx, l.addr, conns); err != nil {
		return fmt.Errorf("%s: %w", l.label, err)
	}
	if _, err := l.client.load(ctx, s, planeTurn/4); err != nil {
		return fmt.Errorf("%s: %w", l.label, err)
	}
	return nil
}

func (l *lane) measure(ctx context.Context, s shot) error {
	firstBefore, err0 := harness.CPUTime(l.pids[0])
	before, err := sumCPU(l.pids)
	besideBefore, err2 := sumCPU(l.besides)
	if err := errors.Join(err0, err, err2); err != nil {
		return err
	}
	began := time.Now()
	n, err := l.client.load(ctx, s, planeTurn)
	if err != nil {
		return err
	}
	t := turn{lasted: time.Since(began), answered: n}
	firstAfter, err0 := harness.CPUTime(l.pids[0])
	after, err := sumCPU(l.pids)
	besideAfter, err2 := sumCPU(l.besides)
	if err := errors.Join(err0, err, err2); err != nil {
		return err
	}
	t.first, t.beside = firstAfter-firstBefore, besideAfter-besideBefore
	t.cpu = max(after-before, harness.ClockTick/2) // Less than a tick can't be measured.
	l.turns = append(l.turns, t)
	return nil
}

func (r *race) lane(label string) *lane {
	for _, l := range r.lanes {
		if l.label == label {
			return l
		}
	}
	return nil
}

func (r *race) has(label string) bool { return r.lane(label) != nil }

// ratio is a's CPU per request divided by b's, round by round. It is zero if one of them
// is missing.
func (r *race) ratio(a, b string) spread {
	la, lb := r.lane(a), r.lane(b)
	if la == nil || lb == nil {
		return spread{}
	}
	var all []float64
	for i := range la.turns {
		all = append(all, la.turns[i].each()/lb.turns[i].each())
	}
	return spreadOf(all)
}

func (r *race) notes(s *section) {
	for _, m := range r.missing {
		s.note("%s", m)
	}
}
