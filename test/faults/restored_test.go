//go:build e2e

package faults_test

import (
	"context"
	"fmt"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Nomad is restored to a state with an edited job: the agent corrects the job again,
// though it has corrected it before, at a later index.
func TestNomadRestored(t *testing.T) {
	const revision = "restored-00001"
	stack.Deploy(t, harnesstest.Hello("restored", `window = "6s"`, ""))
	stack.ToZero(t, revision)
	harnesstest.Must(t, "stop the agent", stack.Agent.Stop(t.Context()))
	t.Cleanup(func() { // An agent must run again in any case.
		select {
		case <-stack.Agent.Done():
			harnesstest.Must(t, "start the agent", stack.Agent.Start(context.WithoutCancel(t.Context())))
			harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(context.WithoutCancel(t.Context())))
		default:
		}
	})
	job, _, err := stack.Nomad.Jobs().Info(revision, nil)
	harnesstest.Must(t, "read the job", err)
	job.SetMeta("edited", "by hand")
	edit, _, err := stack.Nomad.Jobs().Register(job, nil)
	harnesstest.Must(t, "edit the job", err)
	snapshot, err := stack.Nomad.Operator().Snapshot(nil)
	harnesstest.Must(t, "save Nomad's state", err)
	defer snapshot.Close()

	harnesstest.Must(t, "start the agent", stack.Agent.Start(t.Context()))
	harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(t.Context()))
	wantPutBack(t, revision, edit.JobModifyIndex)
	_, err = stack.Nomad.Operator().SnapshotRestore(snapshot, &nomad.WriteOptions{})
	harnesstest.Must(t, "restore Nomad's state", err)
	wantPutBack(t, revision, edit.JobModifyIndex)
	eventually(t, harnesstest.WaitLong, func() error { return through(stack.Agent, "restored", "/")(t.Context()) })
}

// wantPutBack waits until the edit of a job at an index is undone.
func wantPutBack(t *testing.T, revision string, edited uint64) {
	t.Helper()
	eventually(t, harnesstest.WaitLong, func() error {
		job, _, err := stack.Nomad.Jobs().Info(revision, nil)
		if err == nil && (job.Meta["edited"] != "" || *job.JobModifyIndex <= edited) {
			err = fmt.Errorf("at index %d, of an edit at %d, its meta is %v", *job.JobModifyIndex, edited, job.Meta)
		}
		return err
	})
}
