package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const latencyRounds = 5

// latencyRates are the requests per second of the open loops.
var latencyRates = []int{500, 2000, 4000}

// latency measures how long small requests take: with all connections always busy, and at
// fixed rates.
func latency(ctx context.Context, b *bench) ([]section, error) {
	return inPlane(b, func(p *plane) ([]section, error) { return p.latency(ctx) })
}

func (p *plane) latency(ctx context.Context) (_ []section, err error) {
	r, err := p.race(ctx, labelHAProxy, labelNginx, labelEnvoy, labelReverse, labelQueue, labelLimit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	behind, err := p.addThrough(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, behind.stop()) }()
	get := shot{head: "GET /0123 HTTP/1.1\r\nHost: " + planeHost + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"}
	full, err := r.latencies(ctx, get, func(ctx context.Context, c *client) (samples, error) {
		return c.saturate(ctx, get, planeTurn)
	})
	if err != nil {
		return nil, err
	}
	busy := full.section(fmt.Sprintf("latency at saturation, %d connections, %d turns of %v each", planeConns, latencyRounds, planeTurn))
	if r.has(labelEnvoy) {
		busy.judge("queue-proxy's p99 against Envoy's", full.p99(labelQueue, labelEnvoy).median, 1)
	}
	all := []section{busy}
	for _, rate := range latencyRates {
		calm, err := r.latencies(ctx, get, func(ctx context.Context, c *client) (samples, error) {
			return c.atRate(ctx, get, rate, planeTurn)
		})
		if err != nil {
			return nil, err
		}
		even := calm.section(fmt.Sprintf("latency at %d requests a second over %d connections, %d turns of %v each", rate, planeConns, latencyRounds, planeTurn))
		even.note("counted from when a request was due if its connection was still busy then")
		if r.has(labelEnvoy) {
			even.judge("queue-proxy's p99 against Envoy's", calm.p99(labelQueue, labelEnvoy).median, 1)
			even.judge("gateway's and queue-proxy's p99 against one Envoy's", calm.p99(labelThrough, labelEnvoy).median, 2)
		}
		all = append(all, even)
	}
	r.notes(&all[0])
	return all, nil
}

// laps are the lanes' latencies, round by round.
type laps struct {
	labels []string
	of     map[string][]samples
}

// latencies lets all lanes take their turns, in reverse order every other round.
func (r *race) latencies(ctx context.Context, get shot, turn func(context.Context, *client) (samples, error)) (laps, error) {
	out := laps{of: map[string][]samples{}}
	for _, l := range r.lanes {
		out.labels = append(out.labels, l.label)
	}
	order := slices.Clone(r.lanes)
	for range latencyRounds {
		for _, l := range order {
			if err := l.connect(ctx, get, planeConns); err != nil { // Its turns are so far apart that idle connections are closed.
				return laps{}, err
			}
			s, err := turn(ctx, l.client)
			if err != nil {
				return laps{}, fmt.Errorf("%s: %w", l.label, err)
			}
			out.of[l.label] = append(out.of[l.label], s)
		}
		slices.Reverse(order)
	}
	return out, nil
}

// p99 is a's 99th percentile divided by b's, round by round; zero if one of them is
// missing.
func (l laps) p99(a, b string) spread {
	var all []float64
	for i := range min(len(l.of[a]), len(l.of[b])) {
		all = append(all, l.of[a][i].at(0.99)/l.of[b][i].at(0.99))
	}
	return spreadOf(all)
}

func (l laps) section(title string) section {
	out := section{Title: title, Columns: []string{"p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "p99 × Envoy", "min", "max", "req/s"}}
	for _, label := range l.labels {
		all := samples(slices.Concat(l.of[label]...))
		to := l.p99(label, labelEnvoy)
		rate := float64(len(all)) / (planeTurn.Seconds() * latencyRounds)
		out.add(label, all.at(0.5), all.at(0.9), all.at(0.99), all.at(0.999), to.median, to.min, to.max, rate)
	}
	return out
}

// saturate sends on all connections for a while, each as soon as it has its answer.
func (c *client) saturate(ctx context.Context, s shot, lasts time.Duration) (samples, error) {
	until := time.Now().Add(lasts)
	return c.each(ctx, until, func(w *wire, _ int, add func(time.Duration)) error {
		for time.Now().Before(until) && ctx.Err() == nil {
			began := time.Now()
			if err := w.fire(s); err != nil {
				return err
			}
			add(time.Since(began))
		}
		return nil
	})
}

// atRate sends at an even rate, the connections by turns. A request delayed by a late
// answer counts from when it was due; one delayed because this program woke late does not.
func (c *client) atRate(ctx context.Context, s shot, perSecond int, lasts time.Duration) (samples, error) {
	began := time.Now()
	until, step := began.Add(lasts), time.Second/time.Duration(perSecond)
	return c.each(ctx, until, func(w *wire, at int, add func(time.Duration)) error {
		wait := time.NewTimer(0)
		defer wait.Stop()
		for due := began.Add(time.Duration(at) * step); due.Before(until); due = due.Add(time.Duration(len(c.conns)) * step) {
			from := due
			if left := time.Until(due); left > 0 {
				wait.Reset(left)
				select {
				case <-wait.C:
					from = time.Now()
				case <-ctx.Done():
					return nil
				}
			}
			if err := w.fire(s); err != nil {
				return err
			}
			add(time.Since(from))
		}
		return nil
	})
}

// each runs a sender on every connection, and collects how long its requests took.
func (c *client) each(ctx context.Context, until time.Time, run func(w *wire, at int, add func(time.Duration)) error) (samples, error) {
	var all sync.WaitGroup
	took := make([]samples, len(c.conns))
	errs := make([]error, len(c.conns))
	for i, w := range c.conns {
		if err := w.SetDeadline(until.Add(grace)); err != nil {
			return nil, err
		}
		all.Go(func() { errs[i] = run(w, i, func(d time.Duration) { took[i] = append(took[i], d) }) })
	}
	all.Wait()
	return slices.Concat(took...), errors.Join(append(errs, ctx.Err())...)
}
