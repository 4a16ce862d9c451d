//go:build e2e

package matrix

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// Invariants are what holds after every fault, once all is as before, for the requests that
// have ended since the last one and all that the apps wrote down.
func (w *World) Invariants(ctx context.Context, results []Result, entries map[uint64][]entry) []error {
	return []error{NothingLost(results, entries), OnceOnly(results, entries), w.NoneStoppedInFlight(ctx, entries), w.WithinBounds(ctx)}
}

// entry is a request as an instance wrote it down.
type entry struct {
	number   uint64
	instance string
	began    time.Time
	ended    time.Time // Zero: it did not end.
}

// readLedger reads what the apps wrote, by the number of the request.
func readLedger(path string) (map[uint64][]entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the apps' ledger: %w", err)
	}
	defer file.Close()
	all := map[uint64][]entry{}
	for lines := bufio.NewScanner(file); ; {
		if !lines.Scan() {
			return all, lines.Err()
		}
		var what, instance string
		var nano int64
		var n uint64
		if _, err := fmt.Sscan(lines.Text(), &what, &nano, &instance, &n); err != nil {
			return nil, fmt.Errorf("read the apps' ledger: %q: %w", lines.Text(), err)
		}
		at := time.Unix(0, nano)
		if what == "B" {
			all[n] = append(all[n], entry{number: n, instance: instance, began: at})
			continue
		}
		for i := range slices.Backward(all[n]) {
			if e := &all[n][i]; e.instance == instance && e.ended.IsZero() {
				e.ended = at
				break
			}
		}
	}
}

// NothingLost is an error if a caller has an answer of an app that no app has given, or if
// one got another's answer.
func NothingLost(results []Result, entries map[uint64][]entry) error {
	var errs []error
	for _, r := range results {
		switch {
		case r.OK && len(entries[r.Number]) == 0:
			errs = append(errs, fmt.Errorf("no app has seen the request that was answered: %v", r))
		case r.Status == 200 && !r.OK:
			errs = append(errs, fmt.Errorf("this is not the answer to the request: %v", r))
		}
	}
	return errors.Join(errs...)
}

// OnceOnly is an error if a request ran twice that must not be repeated.
func OnceOnly(results []Result, entries map[uint64][]entry) error {
	var errs []error
	for _, r := range results {
		if n := len(entries[r.Number]); r.Method == "POST" && n > 1 {
			errs = append(errs, fmt.Errorf("it ran %d times: %v", n, r))
		}
	}
	return errors.Join(errs...)
}

// NoneStoppedInFlight is an error if an instance had a request when it was stopped because
// its count was lowered.
func (w *World) NoneStoppedInFlight(ctx context.Context, entries map[uint64][]entry) error {
	busy := map[string][]entry{}
	for _, all := range entries {
		for _, e := range all {
			busy[e.instance] = append(busy[e.instance], e)
		}
	}
	var errs []error
	for _, name := range w.services() {
		allocs, _, err := w.Nomad.Jobs().Allocations(wadi.RevisionID(name, 1), true, (&nomad.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return fmt.Errorf("list the instances of %s: %w", name, err)
		}
		for _, a := range allocs {
			at, stopped := stoppedByCount(a)
			if !stopped {
				continue
			}
			errs = append(errs, stoppedBusy(a.Name, at, busy[a.ID]))
		}
	}
	return errors.Join(errs...)
}

// stoppedBusy is an error for each request that an instance had at a moment.
func stoppedBusy(name string, at time.Time, entries []entry) error {
	var errs []error
	for _, e := range entries {
		if e.began.Before(at) && (e.ended.IsZero() || e.ended.After(at)) {
			errs = append(errs, fmt.Errorf("%s was stopped at %s while it had request #%d, from %s to %s",
				name, at.Format("15:04:05.000"), e.number, e.began.Format("15:04:05.000"), e.ended.Format("15:04:05.000")))
		}
	}
	return errors.Join(errs...)
}

// taskWaitingToShutDown is the event of a task whose group waits before it ends.
const taskWaitingToShutDown = "Waiting for shutdown delay"

// stoppedByCount says when Nomad's client began to stop an allocation that a lower count has
// made superfluous.
func stoppedByCount(a *nomad.AllocationListStub) (at time.Time, stopped bool) {
	if a.DesiredStatus != "stop" || !strings.Contains(a.DesiredDescription, "alloc not needed") {
		return at, false
	}
	for _, st := range a.TaskStates {
		for _, e := range st.Events {
			if e.Type != nomad.TaskKilling && e.Type != taskWaitingToShutDown {
				continue
			}
			if t := time.Unix(0, e.Time); at.IsZero() || t.Before(at) {
				at, stopped = t, true
			}
		}
	}
	return at, stopped
}

// WithinBounds is an error if a revision has more instances than its service may have.
func (w *World) WithinBounds(ctx context.Context) error {
	var errs []error
	for _, name := range w.services() {
		n, err := w.running(ctx, wadi.RevisionID(name, 1))
		if err == nil && n > most[name] {
			err = fmt.Errorf("%s has %d instances, and at most %d are allowed", name, n, most[name])
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// leftWithin bounds how long what belonged to services may be there after their deletion.
const leftWithin = time.Minute

// NothingLeft is an error if, after all services were deleted, something of them is left: a
// job, a key, an entry of the mesh, an allocation that runs, or a process. The cluster's own
// Stop looks after mounts and interfaces.
func (w *World) NothingLeft(ctx context.Context) error {
	return harness.Eventually(ctx, leftWithin, func() error {
		return errors.Join(w.noJobs(ctx), w.noKeys(ctx), w.noEntries(ctx), w.noTasks())
	})
}

func (w *World) noJobs(ctx context.Context) error {
	jobs, _, err := w.Nomad.Jobs().List(w.everywhere(ctx))
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	var left []string
	for _, j := range jobs {
		if j.ID != "callers" && j.Status != "dead" {
			left = append(left, j.ID)
		}
	}
	return leftover("jobs", left)
}

// noKeys looks for keys that belong to a service.
func (w *World) noKeys(ctx context.Context) error {
	keys, _, err := w.Consul.KV().Keys("wadi/", "", w.query(ctx))
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	of := []string{"index", "route", "spec", "revision", "state", "status", "load", "domain", "tag", "mark"}
	var left []string
	for _, k := range keys {
		if parts := strings.Split(k, "/"); len(parts) > 2 && slices.Contains(of, parts[1]) {
			left = append(left, k)
		}
	}
	return leftover("keys", left)
}

func (w *World) noEntries(ctx context.Context) error {
	var left []string
	for _, kind := range []string{"service-defaults", "service-resolver", "service-splitter", "service-router", "service-intentions"} {
		entries, _, err := w.Consul.ConfigEntries().List(kind, w.query(ctx))
		if err != nil {
			return fmt.Errorf("list entries: %w", err)
		}
		for _, e := range entries {
			if slices.Contains(w.services(), e.GetName()) {
				left = append(left, kind+" "+e.GetName())
			}
		}
	}
	return leftover("entries of the mesh", left)
}

func (w *World) noTasks() error {
	var left []string
	for _, program := range []string{programApp, programQueue} {
		tasks, err := w.tasks(program)
		if err != nil {
			return err
		}
		for _, t := range tasks {
			left = append(left, fmt.Sprintf("%s of %s (%d)", program, t.job, t.pid))
		}
	}
	return leftover("processes", left)
}

func leftover(what string, left []string) error {
	if len(left) > 0 {
		return fmt.Errorf("%s are left: %s", what, strings.Join(left, ", "))
	}
	return nil
}
