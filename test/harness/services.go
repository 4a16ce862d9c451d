package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// Long bounds waits for what takes seconds on an idle machine. A wait that is met ends at
// once, so a long bound costs nothing where all is well: end-to-end tests share two cores with
// each other.
const Long = 3 * time.Minute

// Apply submits HCL and waits until the newest revisions are ready. A revision
// that fails is an error with its reason.
func (a *Agent) Apply(ctx context.Context, hcl string) error {
	sub, err := a.Submit(ctx, hcl)
	if err != nil {
		return err
	}
	for _, s := range sub.Services {
		if err := a.WaitReady(ctx, s.Name, s.Generation); err != nil {
			return err
		}
	}
	return nil
}

// Submit submits HCL without waiting.
func (a *Agent) Submit(ctx context.Context, hcl string) (api.Submitted, error) {
	return a.Client.Apply(ctx, api.Submission{Files: []api.File{{Name: "test.hcl", Source: hcl}}})
}

// WaitReady waits until the service's newest revision of a generation is ready.
func (a *Agent) WaitReady(ctx context.Context, name string, generation uint64) error {
	return Eventually(ctx, Long, func() error {
		s, err := a.Client.Service(ctx, name)
		switch {
		case err != nil:
			return err
		case s.Status.Generation < generation:
			return errors.New("no status yet")
		case s.Status.Phase == "failed":
			return Final(fmt.Errorf("%s failed: %+v", name, s.Status.Conditions))
		case s.Status.Phase != "ready":
			return fmt.Errorf("%s is %s: %+v", name, s.Status.Phase, s.Status.Conditions)
		}
		return nil
	})
}

// WaitCondition waits until one of the service's conditions satisfies is; want describes
// it.
func (a *Agent) WaitCondition(ctx context.Context, service string, within time.Duration, want string, is func(wadi.Condition) bool) error {
	return Eventually(ctx, within, func() error {
		s, err := a.Client.Service(ctx, service)
		if err == nil && !slices.ContainsFunc(s.Status.Conditions, is) {
			err = fmt.Errorf("got conditions %+v, want %s", s.Status.Conditions, want)
		}
		return err
	})
}

// Delete removes a service and waits until it is gone. One that is gone already is no error.
func (a *Agent) Delete(ctx context.Context, name string) error {
	if _, err := a.Client.Delete(ctx, name, 0, 0); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return err
	}
	return Eventually(ctx, Long, func() error {
		_, err := a.Client.Service(ctx, name)
		if errors.Is(err, wadi.ErrNotFound) {
			return nil
		}
		return fmt.Errorf("%s is still there: %v", name, err)
	})
}

// Count is the count of a revision's job in Nomad; -1: there is no job.
func (s *Stack) Count(ctx context.Context, revision string) (int, error) {
	job, _, err := s.Nomad.Jobs().Info(revision, (&nomad.QueryOptions{}).WithContext(ctx))
	switch {
	case err != nil && strings.Contains(err.Error(), "404"):
		return -1, nil
	case err != nil:
		return 0, err
	case job.Stop != nil && *job.Stop:
		return -1, nil
	}
	return *job.TaskGroups[0].Count, nil
}

// Running counts the revision's allocations that are not stopped and whose tasks run.
func (s *Stack) Running(ctx context.Context, revision string) (int, error) {
	allocs, err := s.Allocs(ctx, revision)
	n := 0
	for _, a := range allocs {
		if a.ClientStatus == "running" && a.DesiredStatus == "run" {
			n++
		}
	}
	return n, err
}

// Allocs lists the revision's allocations that have not ended.
func (s *Stack) Allocs(ctx context.Context, revision string) ([]*nomad.AllocationListStub, error) {
	all, _, err := s.Nomad.Jobs().Allocations(revision, true, (&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	var live []*nomad.AllocationListStub
	for _, a := range all {
		if a.ClientStatus == "pending" || a.ClientStatus == "running" {
			live = append(live, a)
		}
	}
	return live, nil
}

// WaitCount waits until the job's count is as wanted.
func (s *Stack) WaitCount(ctx context.Context, revision string, within time.Duration, ok func(int) bool) error {
	return Eventually(ctx, within, func() error {
		n, err := s.Count(ctx, revision)
		if err == nil && !ok(n) {
			err = fmt.Errorf("%s has count %d", revision, n)
		}
		return err
	})
}

// WaitGone waits until no allocation of the revision is left.
func (s *Stack) WaitGone(ctx context.Context, revision string, within time.Duration) error {
	return Eventually(ctx, within, func() error {
		live, err := s.Allocs(ctx, revision)
		if err == nil && len(live) > 0 {
			err = fmt.Errorf("%s has %d allocations", revision, len(live))
		}
		return err
	})
}

// finalError ends waiting.
type finalError struct{ error }

// Final marks an error that ends the waiting of [Eventually].
func Final(err error) error { return finalError{err} }

// Eventually repeats try until it returns nil or a [Final] error, or the time is up.
func Eventually(ctx context.Context, within time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if f := (finalError{}); errors.As(err, &f) {
			return f.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", within, err)
		case <-time.After(25 * time.Millisecond):
		}
	}
}
