//go:build e2e

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// waitEvent waits for an event of a revision that contains a text.
func waitEvent(t *testing.T, service, revision, text string) {
	t.Helper()
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		s, err := stack.Agent.Client.Service(t.Context(), service)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(s.Status.Events, func(e wadi.Event) bool {
			return e.Revision == revision && strings.Contains(e.Message, text)
		})
		if i < 0 {
			return fmt.Errorf("no event of %s says %q: %+v", revision, text, s.Status.Events)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("wait for an event: %v", err)
	}
}

// waitServed sends requests until a service answers with 200.
func waitServed(t *testing.T, service string) {
	t.Helper()
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		res, err := stack.Agent.Get(t.Context(), service, "/")
		if err == nil && res.Status != 200 {
			err = fmt.Errorf("got status %d, want 200: %s", res.Status, res.Body)
		}
		return err
	})
	if err != nil {
		t.Fatalf("get %s: %v", service, err)
	}
}

// jobOf reads a job from Nomad.
func jobOf(t *testing.T, id string) *nomad.Job {
	t.Helper()
	job, _, err := stack.Nomad.Jobs().Info(id, (&nomad.QueryOptions{}).WithContext(t.Context()))
	if err != nil {
		t.Fatalf("read job %s: %v", id, err)
	}
	return job
}

// A job that a user purges is registered again, and callers are served meanwhile.
func TestFaults_JobPurged(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("purged", options{window: "60s", min: 1}))
	spec := jobOf(t, "purged-00001")
	if _, _, err := stack.Nomad.Jobs().Deregister("purged-00001", true, nil); err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, stack.Get(t, "purged", "/"), 200) // From the stopping instance, or a new one.
	waitEvent(t, "purged", "purged-00001", "job was gone")      // The controller's, or the waker's.
	waitServed(t, "purged")
	if err := stack.WaitCount(t.Context(), "purged-00001", harnesstest.WaitLong, func(n int) bool { return n == 1 }); err != nil {
		t.Fatal(err)
	}
	back := jobOf(t, "purged-00001")
	if got, want := back.Meta["wadi_spec_hash"], spec.Meta["wadi_spec_hash"]; got != want || got == "" {
		t.Errorf("got spec hash %q, want %q as before", got, want)
	}
}

// A job purged at zero is back before, or at the latest with, the next request.
func TestFaults_JobPurgedAtZero(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("purgedzero", options{}))
	stack.ToZero(t, "purgedzero-00001")
	if _, _, err := stack.Nomad.Jobs().Deregister("purgedzero-00001", true, nil); err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, stack.Get(t, "purgedzero", "/"), 200)
	waitEvent(t, "purgedzero", "purgedzero-00001", "job was gone")
}

// A job that a user stops is started again.
func TestFaults_JobStopped(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("halted", options{window: "60s", min: 1}))
	if _, _, err := stack.Nomad.Jobs().Deregister("halted-00001", false, nil); err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, stack.Get(t, "halted", "/"), 200)
	waitEvent(t, "halted", "halted-00001", "job was stopped")
	if err := stack.WaitCount(t.Context(), "halted-00001", harnesstest.WaitLong, func(n int) bool { return n == 1 }); err != nil {
		t.Fatal(err)
	}
	waitServed(t, "halted")
}

// A job that a user edits is restored; the count, if it was edited too, stays the
// autoscaler's business.
func TestFaults_JobEdited(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("edited", options{window: "6s", env: map[string]string{"COLOUR": "green"}, min: 1}))
	for i, edit := range []func(*nomad.Job){
		func(j *nomad.Job) { j.TaskGroups[0].Tasks[appTask(j)].Env["COLOUR"] = "red" },
		func(j *nomad.Job) {
			j.TaskGroups[0].Tasks[appTask(j)].Env["COLOUR"] = "blue"
			three := 3
			j.TaskGroups[0].Count = &three
		},
		func(j *nomad.Job) { delete(j.Meta, "wadi_spec_hash") },
	} {
		job := jobOf(t, "edited-00001")
		edit(job)
		if _, _, err := stack.Nomad.Jobs().Register(job, nil); err != nil {
			t.Fatal(err)
		}
		err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
			job := jobOf(t, "edited-00001")
			if c := job.TaskGroups[0].Tasks[appTask(job)].Env["COLOUR"]; c != "green" || job.Meta["wadi_spec_hash"] == "" {
				return fmt.Errorf("edit %d stands: COLOUR is %s, meta %v", i, c, job.Meta)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		harnesstest.WantStatus(t, stack.Get(t, "edited", "/"), 200)
	}
	waitEvent(t, "edited", "edited-00001", "edited in Nomad")
	if err := stack.WaitCount(t.Context(), "edited-00001", harnesstest.WaitLong, func(n int) bool { return n == 1 }); err != nil {
		t.Error(err)
	}
}

func appTask(j *nomad.Job) int {
	return slices.IndexFunc(j.TaskGroups[0].Tasks, func(task *nomad.Task) bool { return task.Name == "web" })
}

// A count set with "nomad job scale" is no drift: no version, no event, no replaced
// instance; the autoscaler decides again after a while.
func TestFaults_JobScaledByHand(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("byhand", options{window: "6s", min: 1, scale: `manual_hold = "0s"`}))
	before, err := stack.Allocs(t.Context(), "byhand-00001")
	if err != nil || len(before) != 1 {
		t.Fatalf("got %d allocations (%v), want 1", len(before), err)
	}
	two := 2
	if _, _, err := stack.Nomad.Jobs().Scale("byhand-00001", "instance", &two, "by hand", false, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := stack.WaitCount(t.Context(), "byhand-00001", harnesstest.WaitLong, func(n int) bool { return n == 1 }); err != nil {
		t.Fatal(err)
	}
	s, err := stack.Agent.Client.Service(t.Context(), "byhand")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Status.Events {
		if e.Type == "DriftCorrected" || e.Type == "PutBack" {
			t.Errorf("got event %+v, want none of drift", e)
		}
	}
	live, err := stack.Allocs(t.Context(), "byhand-00001")
	if err != nil || len(live) == 0 {
		t.Fatalf("got %d allocations (%v)", len(live), err)
	}
	// Nomad stops the highest name index, which is the new instance.
	if !slices.ContainsFunc(live, func(a *nomad.AllocationListStub) bool { return a.ID == before[0].ID }) {
		t.Errorf("the first instance %s was replaced", before[0].ID)
	}
}
