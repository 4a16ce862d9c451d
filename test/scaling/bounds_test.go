//go:build e2e

package scaling_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A schedule's floor is kept while it is in force, and its end, here by another
// submission, touches no job.
func TestSchedule(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("clock", `max = 5
    schedule "always" {
      cron     = "* * * * *"
      duration = "1h"
      timezone = "Europe/Berlin"
      min      = 2
    }`))
	waitCount(t, "clock", 2)
	d := waitDecision(t, "clock", "by the schedule", func(d wadi.Decision) bool { return d.Floor.By == "schedule" })
	if d.Floor.Count != 2 || d.Floor.Name != "always" || !d.Floor.Until.After(d.Time) {
		t.Errorf("got the floor %+v, want 2 by always and its end", d.Floor)
	}
	wantCount(t, "clock", 2, 10*time.Second) // Longer than the window.
	changed := time.Now()
	sub := stack.Submit(t, hello("clock", "max = 5"))
	if sub[0].NewRevision {
		t.Error("a changed schedule made a revision")
	}
	stack.ToZero(t, "clock-00001")
	t.Logf("at zero %v after the schedule was taken out", time.Since(changed))
}

// A count that is held is there at once, whatever the load, until it is released; at
// a hold of zero requests are served all the same.
func TestHold(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("held", "max = 5"))
	began := time.Now()
	held, err := stack.Agent.Client.Hold(t.Context(), "held", "", 3, time.Hour)
	harnesstest.Must(t, "hold", err)
	waitCount(t, "held", 3)
	t.Logf("3 in Nomad %v after the hold", time.Since(began))
	if held.Hold.Count != 3 {
		t.Errorf("got %+v, want 3 held", held)
	}
	d := waitDecision(t, "held", "by the hold", func(d wadi.Decision) bool { return d.Rule == "hold" && d.Carried })
	if !strings.Contains(d.Reason, "held at 3") || d.HoldUntil.IsZero() {
		t.Errorf("got %+v, want it to say the hold and its end", d)
	}
	wantCount(t, "held", 3, 10*time.Second)
	ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "explain", "held")
	if err != nil || ran.Code != 0 || !strings.Contains(ran.Stdout, "held at 3 until") || !strings.Contains(ran.Stdout, d.Reason) {
		t.Errorf("explain: %v %v, want the hold and %q", err, ran, d.Reason)
	}
	if _, err := stack.Agent.Client.Hold(t.Context(), "held", "", 6, time.Hour); err == nil {
		t.Error("more than scale.max is held")
	}
	_, err = stack.Agent.Client.Hold(t.Context(), "held", "", 0, time.Hour)
	harnesstest.Must(t, "hold zero", err)
	stack.ToZero(t, "held-00001")
	harnesstest.WantStatus(t, stack.Get(t, "held", "/"), 200)
	stack.ToZero(t, "held-00001")
	_, err = stack.Agent.Client.Release(t.Context(), "held", "")
	harnesstest.Must(t, "release", err)
	harnesstest.WantStatus(t, stack.Get(t, "held", "/"), 200)
	wantSentences(t, "held")
}

// A dry run decides and shows, and carries nothing out.
func TestDryRun(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("dry", perInstance(1)+"max = 5\n    initial = 0\n    dry_run = true"))
	l := load(t, "dry", 3, 100*time.Millisecond)
	d := waitDecision(t, "dry", "of more than one", func(d wadi.Decision) bool { return d.Desired > 1 })
	if d.Carried || d.WhyNot != "dry_run" {
		t.Errorf("got %+v, want it not carried out", d)
	}
	wantCount(t, "dry", 1, 5*time.Second)
	wantAnswered(t, l)
}

// With initial = 0 nothing starts before it is called, and then as many as
// activation says. zero_grace makes the way to zero longer.
func TestInitialActivationGrace(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("few", "max = 5\n    initial = 0\n    activation = 3\n    zero_grace = \"10s\""))
	wantCount(t, "few", 0, 3*time.Second)
	harnesstest.WantStatus(t, stack.Get(t, "few", "/"), 200)
	answered := time.Now()
	waitCount(t, "few", 3)
	stack.ToZero(t, "few-00001")
	if took := time.Since(answered); took < 16*time.Second {
		t.Errorf("at zero after %v, want window and grace, 16 s, at least", took)
	}
	d := waitDecision(t, "few", "to zero", func(d wadi.Decision) bool { return d.Carried && d.Desired == 0 })
	if d.Rule != "zero" {
		t.Errorf("got %+v, want zero by the idle time", d)
	}
}

// Another leader changes no count, and knows what the one before knew.
func TestLeaderChange(t *testing.T) {
	two, err := stack.NewAgent("wadi-2", "")
	harnesstest.Must(t, "configure the second agent", err)
	harnesstest.Must(t, "start it", two.Start(t.Context()))
	harnesstest.Must(t, "wait for it", two.WaitLeader(t.Context()))
	stack.Deploy(t, hello("kept", perInstance(2)+"max = 8"))
	l := harnesstest.StartWorkers(t, 6, 0, func(ctx context.Context) (string, error) {
		res, err := two.Get(ctx, "kept", "/?sleep=200ms")
		return harnesstest.Answer(res, err)
	})
	waitCount(t, "kept", 3)
	before := waitDecision(t, "kept", "in steady state", func(d wadi.Decision) bool { return d.Ready == 3 && d.Stable > 5 && d.Coverage == 1 })
	most := highest(t, "kept")
	harnesstest.Must(t, "kill the leader", stack.Agent.Kill())
	killed := time.Now()
	t.Cleanup(func() { // In any case there is a first agent again, and alone.
		select {
		case <-stack.Agent.Done():
			harnesstest.Must(t, "start the first agent", stack.Agent.Start(context.Background()))
		default:
		}
		harnesstest.Must(t, "stop the second agent", two.Stop(context.Background()))
		harnesstest.Must(t, "wait for the first one", stack.Agent.WaitLeader(context.Background()))
	})
	var after wadi.Decision
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		all, err := two.Client.Decisions(t.Context(), "kept")
		if err != nil || len(all) == 0 || !all[len(all)-1].Valid {
			return fmt.Errorf("no valid decision: %v %v", all, err)
		}
		after = all[len(all)-1]
		return nil
	})
	harnesstest.Must(t, "the new leader decides", err)
	t.Logf("the new leader decided validly %v after the kill: %+v", time.Since(killed), after)
	if after.Stable < 0.7*before.Stable || after.Stable > 1.3*before.Stable || after.Coverage < 0.99 {
		t.Errorf("the new leader measures %+v, the old one measured %+v", after, before)
	}
	time.Sleep(10 * time.Second)
	if n, err := stack.Count(t.Context(), "kept-00001"); err != nil || n != 3 || most() != 3 {
		t.Errorf("got count %d (%v), at most %d; want 3 all the time", n, err, most())
	}
	wantAnswered(t, l)
}
