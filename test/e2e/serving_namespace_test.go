//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// namespaced makes a Nomad namespace for the time of the test.
func namespaced(t *testing.T, name string) *nomad.WriteOptions {
	t.Helper()
	_, err := stack.Nomad.Namespaces().Register(&nomad.Namespace{Name: name}, nil)
	harnesstest.Must(t, "make namespace "+name, err)
	t.Cleanup(func() {
		err := harness.Eventually(context.WithoutCancel(t.Context()), harnesstest.WaitLong, func() error { // Once its jobs are gone.
			_, err := stack.Nomad.Namespaces().Delete(name, nil)
			return err
		})
		harnesstest.Must(t, "delete namespace "+name, err)
	})
	return &nomad.WriteOptions{Namespace: name}
}

// A job ID is not unique: another namespace may have a job with the revision's ID, before
// the revision is made or after. Neither is taken for the revision's job.
func TestServing_SameIDInAnotherNamespace(t *testing.T) {
	t.Parallel()
	theirs := namespaced(t, "squatters")
	squat := func(revision string, count int) {
		t.Helper()
		job, err := stack.Nomad.Jobs().ParseHCL(fmt.Sprintf(`job %q {
  meta { wadi_service = "claimed" }
  group "instance" {
    count = %d
    task "web" {
      driver = "raw_exec"
      config {
        command = "sleep"
        args    = ["1000"]
      }
      resources {
        cpu    = 20
        memory = 10
      }
    }
  }
}`, revision, count), true)
		harnesstest.Must(t, "parse a job", err)
		job.Namespace = &theirs.Namespace
		_, _, err = stack.Nomad.Jobs().Register(job, theirs)
		harnesstest.Must(t, "register "+revision+" elsewhere", err)
		t.Cleanup(func() {
			_, _, err := stack.Nomad.Jobs().Deregister(revision, true, theirs)
			harnesstest.Must(t, "purge "+revision+" elsewhere", err)
		})
	}
	squat("claimed-00001", 1)
	squat("claimed-00002", 0)
	for n := range 2 {
		o := options{env: map[string]string{"VERSION": fmt.Sprint(n + 1)}}
		stack.Deploy(t, hello("claimed", o))
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			res := stack.Get(t, "claimed", "/")
			if want := fmt.Sprintf("claimed-%05d", n+1); res.Status != 200 || !strings.Contains(res.Body, want) {
				return fmt.Errorf("got status %d, %q, want it from %s", res.Status, res.Body, want)
			}
			return nil
		})
	}
	squat("claimed-00002", 1)
	stack.ToZero(t, "claimed-00002")
	harnesstest.WantStatus(t, stack.Get(t, "claimed", "/"), 200)
}

// A namespace that is made while the agent runs works like any other, though Nomad's event
// stream of all namespaces covers only those that existed when it was opened.
func TestServing_NewNamespace(t *testing.T) {
	t.Parallel()
	namespaced(t, "newcomers")
	stack.Deploy(t, hello("newcomer", options{service: `namespace = "newcomers"`}))
	harnesstest.WantStatus(t, stack.Get(t, "newcomer", "/"), 200)
	job, _, err := stack.Nomad.Jobs().Info("newcomer-00001", &nomad.QueryOptions{Namespace: "newcomers"})
	harnesstest.Must(t, "read the job", err)
	if job.Meta["wadi_installation"] == "" {
		t.Errorf("meta is %v, without the installation", job.Meta)
	}
}
