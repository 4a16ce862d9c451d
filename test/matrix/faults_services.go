//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// The services that faults of this file bring with them.
const (
	serviceRotten = "rotten" // Answers only 500.
	serviceRolled = "rolled" // Gets a revision that does not start.
)

func serviceFaults() []Fault {
	all := []Fault{
		{
			Name: "a job is purged by hand", Group: GroupServices, Promise: "a job is stopped, deleted or edited by hand", Short: true,
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
				w.Hit.Service = ServiceHost
				_, _, err := w.Nomad.Jobs().Deregister(wadi.RevisionID(ServiceHost, 1), true, (&nomad.WriteOptions{}).WithContext(ctx))
				return nil, err
			},
			During: func(ctx context.Context, w *World, row *Row) error {
				n, err := w.running(ctx, wadi.RevisionID(ServiceHost, 1))
				if err == nil && n == 0 {
					err = errors.New("the job is not back")
				}
				if err == nil {
					row.Note("an instance of the job ran again after %s", since(w.Hit.Broken))
				}
				return err
			},
		},
		{
			Name: "a revision that does not start is applied", Group: GroupServices, Promise: "a new revision is bad", Short: true,
			Break: breakRollout, During: saysWhy,
		},
		{
			Name: "requests come while a service goes to zero", Group: GroupServices, Promise: "a service that goes to zero gets a request",
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
				return nil, harness.Eventually(ctx, breakWithin, func() error { return w.atTheEdge(ctx) })
			},
		},
	}
	for i, count := range []string{"one instance", "two instances"} {
		n := i + 1
		all = append(all, Fault{
			Name: "an app with " + count + " answers only 500", Group: GroupServices, Promise: "an app answers only 500",
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
				hcl := w.hcl(serviceRotten, options{min: n, max: n, mesh: w.Mesh, env: map[string]string{"STATUS": "500"}})
				if err := w.Agents[0].Apply(ctx, hcl); err != nil {
					return nil, err
				}
				stop := w.Load.Also(serviceRotten, 500)
				return func(ctx context.Context) error {
					stop()
					return w.Agents[0].Delete(ctx, serviceRotten)
				}, nil
			},
			// Longer than the interval in which an Envoy would take instances for outliers.
			For: 12e9,
		})
	}
	return all
}

// breakRollout applies a service and then a revision of it that does not start.
func breakRollout(ctx context.Context, w *World) (mend func(context.Context) error, err error) {
	o := options{min: 1, max: 2, more: "timeout {\n    progress = \"15s\"\n  }"}
	if err := w.Agents[0].Apply(ctx, w.hcl(serviceRolled, o)); err != nil {
		return nil, err
	}
	stop := w.Load.Also(serviceRolled, 200)
	o.env = map[string]string{"FAIL_START": "1"}
	_, err = w.Agents[0].Submit(ctx, w.hcl(serviceRolled, o))
	return func(ctx context.Context) error {
		stop()
		return w.Agents[0].Delete(ctx, serviceRolled)
	}, err
}

// saysWhy waits until the status says that the new revision has failed.
func saysWhy(ctx context.Context, w *World, row *Row) error {
	s, err := w.Agents[0].Client.Service(ctx, serviceRolled)
	if err != nil {
		return err
	}
	for _, r := range s.Status.Revisions {
		if r.Phase == wadi.Failed && r.Reason != "" {
			if r.Percent != 0 {
				return fmt.Errorf("the revision that has failed has %g %% of the traffic", r.Percent)
			}
			row.Note("the status said so after %s", since(w.Hit.Broken))
			add(&row.Saw.Status, r.ID+": "+string(r.Phase)+": "+r.Reason)
			return nil
		}
	}
	return fmt.Errorf("no revision has failed: %+v", s.Status.Revisions)
}

// atTheEdge sends requests to a service if its count was lowered to zero and its instance
// still ends. It is an error while that is not so.
func (w *World) atTheEdge(ctx context.Context) error {
	j, _, err := w.Nomad.Jobs().Info(wadi.RevisionID(ServiceNaps, 1), (&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	if n := *j.TaskGroups[0].Count; n != 0 {
		return fmt.Errorf("it has count %d", n)
	}
	all, err := w.tasks(programApp)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(t task) bool { return isOf(t.job, ServiceNaps) }) {
		return errors.New("its last instance has ended")
	}
	for i := range w.Agents {
		w.Load.Once(ServiceNaps, i)
	}
	return nil
}

// isOf reports whether a job is a revision of a service.
func isOf(job, service string) bool { return strings.HasPrefix(job, service+"-0") }
