package harnesstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
)

// Deploy applies services, waits until they are ready, and deletes them at the end.
func (s *Stack) Deploy(t testing.TB, hcl string) []api.SubmittedService {
	t.Helper()
	sub := s.Submit(t, hcl)
	for _, svc := range sub {
		if err := s.Agent.WaitReady(t.Context(), svc.Name, svc.Generation); err != nil {
			t.Fatalf("deploy %s: %v", svc.Name, err)
		}
	}
	return sub
}

// Submit applies services without waiting. New services are deleted at the end.
func (s *Stack) Submit(t testing.TB, hcl string) []api.SubmittedService {
	t.Helper()
	sub, err := s.Agent.Submit(t.Context(), hcl)
	if err != nil {
		t.Fatalf("submit: %v\n%s", err, hcl)
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		defer wg.Wait()
		for _, svc := range sub.Services {
			if svc.Generation == 1 {
				wg.Go(func() { s.Remove(t, svc.Name) })
			}
		}
	})
	return sub.Services
}

// Remove deletes a service at the end of a test, and shows what happened to it if the test
// failed. If the test has deleted it, that is no error.
func (s *Stack) Remove(t testing.TB, name string) {
	if t.Failed() {
		t.Logf("the agent's log about %s:\n%s\nIn Nomad:\n%s", name, s.LogOf(name, 80), s.TasksOf(name))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*WaitLong)
	defer cancel()
	if err := s.Agent.Delete(ctx, name); err != nil {
		t.Errorf("delete %s: %v\n%s", name, err, s.LogOf(name, 40))
	}
}

// LogOf returns the agent's last lines that name a service, without read requests.
func (s *Stack) LogOf(name string, n int) string {
	lines := slices.DeleteFunc(strings.Split(s.Agent.Tail(100_000), "\n"),
		func(line string) bool {
			return !strings.Contains(line, name) || strings.Contains(line, "wadi.api: request: method=GET")
		})
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// TasksOf lists Nomad's task events of a service's instances.
func (s *Stack) TasksOf(name string) string {
	jobs, _, err := s.Nomad.Jobs().PrefixList(name + "-0")
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, j := range jobs {
		allocs, _, err := s.Nomad.Jobs().Allocations(j.ID, true, nil)
		if err != nil {
			return err.Error()
		}
		for _, a := range allocs {
			fmt.Fprintf(&b, "%s %.8s desired %s, is %s\n", j.ID, a.ID, a.DesiredStatus, a.ClientStatus)
			for task, st := range a.TaskStates {
				for _, e := range st.Events {
					fmt.Fprintf(&b, "  %s %s: %s: %s\n", time.Unix(0, e.Time).UTC().Format("15:04:05.000"), task, e.Type, e.DisplayMessage)
				}
			}
		}
	}
	return b.String()
}

// ToZero waits until no instance of the revision is left.
func (s *Stack) ToZero(t testing.TB, revision string) {
	t.Helper()
	err := s.WaitCount(t.Context(), revision, WaitLong, func(n int) bool { return n <= 0 })
	if err == nil {
		err = s.WaitGone(t.Context(), revision, WaitLong)
	}
	if err != nil {
		t.Fatalf("to zero: %v\n%s", err, s.TasksOf(revision))
	}
}

// ScaleByHand sets a revision's count in Nomad, as a user does.
func (s *Stack) ScaleByHand(t testing.TB, revision string, count int) {
	t.Helper()
	_, _, err := s.Nomad.Jobs().Scale(revision, wadi.GroupInstance, &count, "by hand", false, nil, nil)
	if err != nil {
		t.Fatalf("scale %s to %d by hand: %v", revision, count, err)
	}
}

// ZeroByHand sets a revision without requests to zero in Nomad, and waits until no instance is
// left. Should the autoscaler raise the count before it knows who has set it, it is set again.
func (s *Stack) ZeroByHand(t testing.TB, revision string) {
	t.Helper()
	err := harness.Eventually(t.Context(), WaitLong, func() error {
		n, err := s.Count(t.Context(), revision)
		if err != nil {
			return err
		}
		if n > 0 {
			s.ScaleByHand(t, revision, 0)
		}
		live, err := s.Allocs(t.Context(), revision)
		if err == nil && max(n, 0)+len(live) > 0 {
			err = fmt.Errorf("%s has count %d and %d allocations", revision, n, len(live))
		}
		return err
	})
	if err != nil {
		t.Fatalf("to zero: %v\n%s", err, s.TasksOf(revision))
	}
}

// Scalings returns Nomad's scaling history of a revision, oldest first. Nomad keeps the
// latest twenty.
func (s *Stack) Scalings(t testing.TB, revision string) []nomad.ScalingEvent {
	t.Helper()
	st, _, err := s.Nomad.Jobs().ScaleStatus(revision, nil)
	if err != nil {
		t.Fatalf("read scale status of %s: %v", revision, err)
	}
	events := slices.Clone(st.TaskGroups[wadi.GroupInstance].Events) // Newest first.
	slices.Reverse(events)
	return events
}

// Wakes are the Nomad indexes of the scalings by a waiting request, oldest first, of the
// twenty that Nomad keeps.
func (s *Stack) Wakes(t testing.TB, revision string) []uint64 {
	t.Helper()
	var out []uint64
	for _, e := range s.Scalings(t, revision) {
		if strings.Contains(e.Message, "woken by a request") {
			out = append(out, e.CreateIndex)
		}
	}
	return out
}
