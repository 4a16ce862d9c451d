//go:build e2e

package scaling_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A schedule's floor is kept while it is in force. Its end, here by another submission,
// changes no job.
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

// An override takes effect at once, whatever the load, until it is cleared. With an
// override of zero, requests are still served.
func TestOverride(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("held", "max = 5"))
	began := time.Now()
	overridden, err := stack.Agent.Client.Override(t.Context(), "held", "", 3, time.Hour)
	harnesstest.Must(t, "override", err)
	waitCount(t, "held", 3)
	t.Logf("3 in Nomad %v after the override", time.Since(began))
	if overridden.Override.Count != 3 {
		t.Errorf("got %+v, want an override of 3", overridden)
	}
	d := waitDecision(t, "held", "by the override", func(d wadi.Decision) bool { return d.Rule == "override" && d.Executed })
	if !strings.Contains(d.Reason, "overridden to 3") || d.OverrideUntil.IsZero() {
		t.Errorf("got %+v, want it to say the override and its end", d)
	}
	wantCount(t, "held", 3, 10*time.Second)
	ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "explain", "held")
	if err != nil || ran.Code != 0 || !strings.Contains(ran.Stdout, "overridden to 3 until") || !strings.Contains(ran.Stdout, d.Reason) {
		t.Errorf("explain: %v %v, want the override and %q", err, ran, d.Reason)
	}
	if _, err := stack.Agent.Client.Override(t.Context(), "held", "", 6, time.Hour); err == nil {
		t.Error("more than scale.max is accepted")
	}
	_, err = stack.Agent.Client.Override(t.Context(), "held", "", 0, time.Hour)
	harnesstest.Must(t, "override to zero", err)
	stack.ToZero(t, "held-00001")
	harnesstest.WantStatus(t, stack.Get(t, "held", "/"), 200)
	stack.ToZero(t, "held-00001")
	_, err = stack.Agent.Client.ClearOverride(t.Context(), "held", "")
	harnesstest.Must(t, "release", err)
	harnesstest.WantStatus(t, stack.Get(t, "held", "/"), 200)
	wantSentences(t, "held")
}

// A dry run decides and shows, and executes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("dry", perInstance(1)+"max = 5\n    initial = 0\n    dry_run = true"))
	l := load(t, "dry", 3, 100*time.Millisecond)
	d := waitDecision(t, "dry", "of more than one", func(d wadi.Decision) bool { return d.Desired > 1 })
	if d.Executed || d.WhyNot != "dry_run" {
		t.Errorf("got %+v, want it not executed", d)
	}
	wantCount(t, "dry", 1, 5*time.Second)
	wantAnswered(t, l)
}

// With initial = 0 nothing starts before the first call, which starts as many as
// activation says. zero_grace extends the time before zero.
func TestInitialActivationGrace(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("few", "max = 5\n    initial = 0\n    activation = 3\n    zero_grace = \"10s\""))
	wantCount(t, "few", 0, 3*time.Second)
	asked := time.Now()
	harnesstest.WantStatus(t, stack.Get(t, "few", "/"), 200)
	waitCount(t, "few", 3)
	stack.ToZero(t, "few-00001")
	if took := time.Since(asked); took < 16*time.Second {
		t.Errorf("at zero after %v, want window and grace, 16 s, at least", took)
	}
	d := waitDecision(t, "few", "to zero", func(d wadi.Decision) bool { return d.Executed && d.Desired == 0 })
	if d.Rule != "zero" {
		t.Errorf("got %+v, want zero by the idle time", d)
	}
}
