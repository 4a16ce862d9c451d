package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// scaleWakes is how many services are woken at once: the first so many of the stage.
func (s *scaleStage) wakeAtOnce(ctx context.Context, n int) (out section, err error) {
	out = section{
		Title:   fmt.Sprintf("%d services woken at once; real Nomad, mock tasks, this program answers for their queue-proxies", n),
		Columns: []string{"first s", "median s", "last s", "agent CPU s", "Nomad CPU s"},
	}
	var names []string
	for i := range n {
		names = append(names, scaleName(i))
	}
	s.mocks.forget()
	floor, err := s.timed(&out, "floor: as many scale calls at once", func() (samples, error) { return s.floorWakes(ctx, n) })
	if err != nil {
		return out, err
	}
	if err := s.toZero(ctx, names); err != nil {
		return out, err
	}
	s.mocks.forget()
	own, err := s.timed(&out, "Wadi: as many requests, each for another service", func() (samples, error) { return s.requestAll(ctx, n) })
	if err != nil {
		return out, err
	}
	out.judge("the last answer against the floor's", own.at(1)/floor.at(1), 1.2)
	return out, s.toZero(ctx, names)
}

func (s *scaleStage) timed(out *section, label string, run func() (samples, error)) (samples, error) {
	agent, err := harness.CPUTime(s.agent.PID())
	if err != nil {
		return nil, err
	}
	nomads, err := harness.CPUTime(s.stack.Cluster.Nomad.PID())
	if err != nil {
		return nil, err
	}
	took, err := run()
	if err != nil {
		return nil, err
	}
	agentAfter, err1 := harness.CPUTime(s.agent.PID())
	nomadAfter, err2 := harness.CPUTime(s.stack.Cluster.Nomad.PID())
	out.add(label, took.at(0)/1000, took.at(.5)/1000, took.at(1)/1000, (agentAfter - agent).Seconds(), (nomadAfter - nomads).Seconds())
	return took, errors.Join(err1, err2)
}

// wakeWithin bounds the wakes of all services.
const wakeWithin = 10 * time.Minute

// floorWakes scales all jobs by calls to Nomad, without Wadi, and waits until an instance of
// each serves. Wadi sees them as scaled by hand.
func (s *scaleStage) floorWakes(ctx context.Context, n int) (took samples, err error) {
	began := time.Now()
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = s.scale(ctx, wadi.RevisionID(scaleName(i), 1), 1) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i := range n {
		job := wadi.RevisionID(scaleName(i), 1)
		if err := harness.Eventually(ctx, wakeWithin, func() error {
			if s.mocks.since(job).IsZero() {
				return fmt.Errorf("no instance of %s serves", job)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		took = append(took, s.mocks.since(job).Sub(began))
	}
	return took, nil
}

func (s *scaleStage) scale(ctx context.Context, job string, count int) error {
	_, _, err := s.stack.Nomad.Jobs().Scale(job, wadi.GroupInstance, &count, "", false, nil, (&nomad.WriteOptions{}).WithContext(ctx))
	return err
}

// requestAll sends a request to each of the services at once.
func (s *scaleStage) requestAll(ctx context.Context, n int) (samples, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, wakeWithin)
	defer cancel()
	var all sync.WaitGroup
	took, errs := make(samples, n), make([]error, n)
	for i := range n {
		all.Go(func() {
			res, err := s.agent.Get(ctx, scaleName(i), "/")
			if err == nil && res.Status != http.StatusOK {
				err = fmt.Errorf("%s answered %d: %s", scaleName(i), res.Status, res.Body)
			}
			took[i], errs[i] = time.Since(began), err
		})
	}
	all.Wait()
	return took, errors.Join(errs...)
}

// toZero stops the instances of services, and waits until there are none at all.
func (s *scaleStage) toZero(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := s.scale(ctx, wadi.RevisionID(name, 1), 0); err != nil {
			return err
		}
	}
	return harness.Eventually(ctx, wakeWithin, func() error {
		q := (&nomad.QueryOptions{Filter: `ClientStatus == "running" or ClientStatus == "pending"`, PerPage: 1}).WithContext(ctx)
		left, _, err := s.stack.Nomad.Allocations().List(q)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%s of %s still runs", left[0].ID, left[0].JobID)
		}
		return err
	})
}

const scaleProbes = 10 // Of one service, by turns.

// reactions measure how soon the agent acts on one of its many services: on a change of what is
// submitted, and on a request for one at zero. Both end with the call that reaches Nomad.
func (s *scaleStage) reactions(ctx context.Context) (change, wake samples, err error) {
	var names []string
	for i := range min(scaleProbes, s.services/2) {
		edited, asked := scaleName(s.services-1-i), scaleName(i)
		names = append(names, edited, asked)
		took, err := s.reaction(ctx, edited, func() error { return s.submitLeast(ctx, edited, 1) })
		if err != nil {
			return nil, nil, fmt.Errorf("%s: its change: %w", edited, err)
		}
		change = append(change, took)
		took, err = s.reaction(ctx, asked, func() error {
			go func() { _, _ = s.agent.Get(ctx, asked, "/") }() // It is woken, which is all.
			return nil
		})
		if err != nil {
			return nil, nil, fmt.Errorf("%s: its wake: %w", asked, err)
		}
		wake = append(wake, took)
	}
	for i := range min(scaleProbes, s.services/2) {
		if err := s.submitLeast(ctx, scaleName(s.services-1-i), 0); err != nil {
			return nil, nil, err
		}
	}
	return change, wake, s.toZero(ctx, names)
}

// reaction is the time from what is done until the agent scales the service.
func (s *scaleStage) reaction(ctx context.Context, service string, do func() error) (time.Duration, error) {
	calls := s.toward.nomad.watchScale(wadi.RevisionID(service, 1))
	if err := do(); err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case at := <-calls:
		return at.Sub(began), nil
	case <-time.After(time.Minute):
		return 0, errors.New("no scale call within a minute")
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// submitLeast changes the least number of a service's instances in the store, as a submission of
// its changed file does.
func (s *scaleStage) submitLeast(ctx context.Context, service string, least int) error {
	spec, index, err := s.store.Spec(ctx, service)
	if err != nil {
		return err
	}
	spec.Generation++
	spec.Service.Scale.Min = least
	_, err = s.store.Submit(ctx, []wadi.Submission{{Spec: spec, Index: index}})
	return err
}
