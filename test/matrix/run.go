//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

const (
	lasts       = 3 * time.Second        // Fault.For, if it is 0.
	duringWait  = 90 * time.Second       // Bounds Fault.During and After.
	watchEvery  = 500 * time.Millisecond // Instances and status are looked at so often.
	mendWithin  = 2 * time.Minute
	breakWithin = 2 * time.Minute
)

// ErrUnsettled: what an earlier fault broke is not as before, so that nothing can be said about
// the next.
var ErrUnsettled = errors.New("before anything is broken")

// Run breaks and mends one thing, and says what came of it. The error has everything that
// was not as promised. The world is as before when Run returns without an error.
func (w *World) Run(ctx context.Context, f Fault) (Row, error) {
	row := Row{Fault: f}
	if f.Prepare != nil {
		if err := f.Prepare(limited(ctx, mendWithin), w); err != nil {
			return row, fmt.Errorf("%s: prepare: %w", f.Name, err)
		}
	}
	if err := w.Settle(ctx, time.Now()); err != nil {
		return row, fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	before := w.look(ctx)
	doctor := w.findings(ctx)
	var err error
	if row.InstancesBefore, err = w.instances(); err != nil {
		return row, err
	}

	jobs, err := w.jobs(ctx)
	if err != nil {
		return row, err
	}
	w.Hit = Hit{Began: time.Now()}
	mend, broken := f.Break(limited(ctx, breakWithin), w)
	w.Hit.Broken = time.Now()
	watched := w.watch(ctx, before)
	errs := []error{wrap("break it", broken)}
	if broken == nil {
		errs = append(errs, w.during(ctx, f, &row, doctor))
	}
	w.Hit.Mended = w.Hit.Broken
	if mend != nil {
		errs = append(errs, wrap("mend it", mend(limited(context.WithoutCancel(ctx), mendWithin))))
		w.Hit.Mended = time.Now()
		row.Note("broken for %.1f s", w.Hit.Mended.Sub(w.Hit.Broken).Seconds())
	}
	settled := w.Settle(ctx, w.Hit.Mended)
	w.Hit.Settled = time.Now()
	row.Recovery = w.Hit.Settled.Sub(w.Hit.Mended)
	errs = append(errs, wrap("all is as before", settled))
	row.InstancesDuring, row.Saw.Status = watched()
	if f.After != nil && settled == nil {
		errs = append(errs, wrap("afterwards", harness.Eventually(ctx, duringWait, func() error { return f.After(ctx, w, &row) })))
	}
	if f.Group != GroupServices {
		errs = append(errs, w.sameJobs(ctx, jobs))
	}
	if row.InstancesAfter, err = w.instances(); err != nil {
		errs = append(errs, err)
	}
	results, unended := w.Load.take(ctx)
	entries, unread := readLedger(w.ledger)
	errs = append(errs, unended, unread, w.judge(f, &row, results, entries))
	errs = append(errs, w.Invariants(ctx, results, entries)...)
	if err := errors.Join(errs...); err != nil {
		return row, fmt.Errorf("%s: %w\n%v", f.Name, err, w.Hit)
	}
	return row, nil
}

// sameJobs is an error if a job was created anew.
func (w *World) sameJobs(ctx context.Context, before map[string]uint64) error {
	now, err := w.jobs(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for id, created := range before {
		if now[id] != created {
			errs = append(errs, fmt.Errorf("the job %s was created at %d, and is now one of %d", id, created, now[id]))
		}
	}
	return errors.Join(errs...)
}

// limited is ctx for a time. The timer ends with it.
func limited(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func wrap(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// during lets what is broken last, wakes the service at zero, waits for what the fault
// promises, and asks the doctor.
func (w *World) during(ctx context.Context, f Fault, row *Row, before map[string]bool) error {
	w.Load.Once(ServiceZero, len(w.Agents)-1)
	lasting := max(f.For, lasts)
	asked := make(chan map[string]bool, 1)
	go func() { // Late enough for the agents to have noticed. It ends with its deadlines.
		wait(ctx, time.Until(w.Hit.Broken.Add(lasting/2)))
		asked <- w.findings(ctx)
	}()
	var err error
	if f.During != nil {
		err = wrap("meanwhile", harness.Eventually(ctx, duringWait, func() error { return f.During(ctx, w, row) }))
	}
	for finding := range <-asked {
		if !before[finding] {
			add(&row.Saw.Doctor, finding)
		}
	}
	wait(ctx, time.Until(w.Hit.Broken.Add(lasting)))
	return err
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// watch looks at instances and status until the function that it returns is called, which
// returns the fewest instances and what became false.
func (w *World) watch(ctx context.Context, before map[string]bool) (stop func() (int, []string)) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	fewest, saw := -1, []string(nil)
	look := func() {
		if n, err := w.instances(); err == nil && (fewest < 0 || n < fewest) {
			fewest = n
		}
	}
	done.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			look()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	done.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			for condition := range w.look(ctx) {
				if !before[condition] {
					add(&saw, condition)
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return func() (int, []string) {
		cancel()
		done.Wait()
		return fewest, saw
	}
}

// judge counts the requests, and is an error if one failed that was not allowed to.
func (w *World) judge(f Fault, row *Row, results []Result, entries map[uint64][]entry) error {
	var bad []string
	for _, r := range results {
		row.Sent++
		if r.OK {
			row.Answered++
			row.Slowest = max(row.Slowest, r.Ended.Sub(r.Began))
			continue
		}
		row.Failed++
		add(&row.Saw.Answers, r.answer())
		if !w.allowed(f, r) {
			bad = append(bad, fmt.Sprintf("%v, seen by %d apps", r, len(entries[r.Number])))
		}
	}
	if n := len(bad); n > 0 {
		return fmt.Errorf("%d of %d requests failed that must not:\n  %s", n, row.Sent, strings.Join(bad[:min(n, 12)], "\n  "))
	}
	return nil
}

func (w *World) allowed(f Fault, r Result) bool {
	for _, a := range f.Allowed {
		if a.Is(w.Hit, r) {
			return true
		}
	}
	return false
}

// answer is what the caller saw of a request that failed, without what differs from one to
// the next.
func (r Result) answer() string {
	if r.Status == 0 {
		for _, text := range []string{"connection refused", "connection reset", "EOF", "deadline exceeded"} {
			if strings.Contains(r.Err, text) {
				return "no answer: " + text
			}
		}
		return "no answer: " + r.Err
	}
	return fmt.Sprintf("%d %s %s", r.Status, r.Reason, r.Body)
}
