//go:build e2e

package traffic_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Callers notice neither a new revision, nor one that never gets ready, nor the way back.
func TestChanges_NewBadAndBack(t *testing.T) {
	t.Parallel()
	const name, one, two, three = "moved", "moved-00001", "moved-00002", "moved-00003"
	deploy(t, version(name, "1"))
	l := startLoad(t, 50*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, one, 20)

	stack.Deploy(t, version(name, "2"))
	l.waitAll(t, two, 20)

	began := time.Now()
	stack.Submit(t, versionWith(name, map[string]string{"FAIL_START": "1"}, `window = "60s"`, "timeout {\n    progress = \"15s\"\n  }"))
	waitStatus(t, name, func(st wadi.Status) error {
		if !slices.ContainsFunc(st.Revisions, func(r wadi.RevisionStatus) bool { return r.ID == three && r.Phase == wadi.Failed }) {
			return fmt.Errorf("got revisions %+v, want %s failed", st.Revisions, three)
		}
		return nil
	})
	l.waitAll(t, two, 20)
	for revision, n := range l.since(began, "") {
		if revision != two {
			t.Errorf("%d answers of %s while %s failed", n, revision, three)
		}
	}

	set, err := stack.Agent.Client.Rollback(t.Context(), name, api.Rollback{})
	harnesstest.Must(t, "roll back", err)
	if set.From != two || set.To != one {
		t.Errorf("rolled back from %s to %s, want from %s to %s", set.From, set.To, two, one)
	}
	l.waitAll(t, one, 20)
	l.wantAll(t, 60)
}

// waitStatus waits until a service's status is as wanted.
func waitStatus(t *testing.T, name string, is func(wadi.Status) error) {
	t.Helper()
	waitStatusAt(t, stack.Agent, name, is)
}

// waitStatusAt is waitStatus by another agent than the first.
func waitStatusAt(t *testing.T, a *harness.Agent, name string, is func(wadi.Status) error) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		s, err := a.Client.Service(t.Context(), name)
		if err != nil {
			return err
		}
		return is(s.Status)
	})
}

// Weights that change twenty times in ten seconds, as by `wadi traffic`, cost no request, and
// the last ones hold.
func TestChanges_TwentyInTenSeconds(t *testing.T) {
	t.Parallel()
	const name, one, two = "weighed", "weighed-00001", "weighed-00002"
	deploy(t, version(name, "1"))
	stack.Deploy(t, version(name, "2", "100 "+one, "0 "+two+" next"))
	harnesstest.WantStatus(t, stack.Get(t, "next-"+name, "/"), 200) // It runs.
	l := startLoad(t, 40*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, one, 20)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for i := range 20 {
		setShares(t, name, one, two, 5*(i+1))
		<-tick.C
	}
	l.waitAll(t, two, 20)
	l.wantAll(t, 200)
}

// Of two applies at once each is taken, one after the other, or refused because of the other.
// The later one serves, and callers notice nothing.
func TestChanges_TwoAppliesAtOnce(t *testing.T) {
	t.Parallel()
	const name = "twice"
	deploy(t, version(name, "1"))
	l := startLoad(t, 50*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, name+"-00001", 20)
	type outcome struct {
		sub api.Submitted
		err error
	}
	outcomes := make(chan outcome, 2)
	for _, v := range []string{"2", "3"} {
		go func() {
			sub, err := stack.Agent.Submit(t.Context(), version(name, v))
			outcomes <- outcome{sub, err}
		}()
	}
	var last api.SubmittedService
	for range 2 {
		o := <-outcomes
		switch {
		case errors.Is(o.err, wadi.ErrConflict):
			t.Logf("one was refused: %v", o.err)
		case o.err != nil:
			t.Errorf("apply: %v", o.err)
		case o.sub.Services[0].Generation == last.Generation:
			t.Errorf("both are generation %d", last.Generation)
		case o.sub.Services[0].Generation > last.Generation:
			last = o.sub.Services[0]
		}
	}
	if last.Revision == "" {
		t.Fatal("none was taken")
	}
	l.waitAll(t, last.Revision, 20)
	l.wantAll(t, 60)
}

// setShares gives the second revision a share, and the first what is left, as by `wadi traffic`.
func setShares(t *testing.T, name, one, two string, percent int) {
	t.Helper()
	share, rest := float64(percent), float64(100-percent)
	targets := []api.Target{{Revision: two, Percent: &share}}
	if rest > 0 {
		targets = append(targets, api.Target{Revision: one, Percent: &rest})
	}
	_, err := stack.Agent.Client.SetTraffic(t.Context(), name, api.Traffic{Targets: targets})
	harnesstest.Must(t, "set traffic", err)
}
