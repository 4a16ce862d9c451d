//go:build e2e

package doctor_test

import (
	"context"
	"sync"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

var leave sync.Once

// leaveJob registers the job of a revision of an installation that is gone, once. A job
// counts as left behind when it is a minute old.
func leaveJob(t *testing.T) {
	t.Helper()
	leave.Do(func() {
		job := nomad.NewServiceJob("ghost-00001", "ghost-00001", "global", 50)
		job.Meta = map[string]string{"wadi_service": "ghost", "wadi_revision": "ghost-00001", "wadi_installation": "of-before"}
		group := nomad.NewTaskGroup("instance", 0)
		group.AddTask(nomad.NewTask("web", "raw_exec").SetConfig("command", "hello"))
		job.AddTaskGroup(group)
		_, _, err := stack.Nomad.Jobs().Register(job, nil)
		harnesstest.Must(t, "register a job", err)
	})
}

// A job of another installation is found in Nomad, and no longer when it is gone.
func TestDoctor_OtherInstallation(t *testing.T) {
	leaveJob(t)
	t.Cleanup(func() {
		_, _, _ = stack.Nomad.Jobs().Deregister("ghost-00001", true, (&nomad.WriteOptions{}).WithContext(context.WithoutCancel(t.Context()))) // Again, if the test has failed.
	})
	finds(t, stack.Agent, "warn", ": left behind", "1 job of another installation")
	_, _, err := stack.Nomad.Jobs().Deregister("ghost-00001", true, nil)
	harnesstest.Must(t, "purge the job", err)
	findsNot(t, stack.Agent, ": left behind", "of another installation")
}
