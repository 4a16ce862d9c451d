package scheduler_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// While an instance is on a draining node there is one more instance, and not another one
// at every evaluation.
func TestEvaluate_OneMoreWhileInstancesMigrate(t *testing.T) {
	for _, tt := range []struct {
		name          string
		count, moving int
		inVain        bool
		change        func(*scheduler.EvalInput)
		want          int
		rule          string
	}{
		{"none moves", 1, 0, false, nil, 1, ""},
		{"the only one moves", 1, 1, false, nil, 2, scheduler.RuleMoving},
		{"one more is there", 2, 1, false, nil, 2, scheduler.RuleMoving},
		{"there is no place", 2, 1, true, nil, 1, ""},
		{"max stands", 3, 2, false, func(in *scheduler.EvalInput) { in.Scaling.Min = 3 }, 3, ""},
		{"data are missing", 2, 1, false, func(in *scheduler.EvalInput) { in.Loads.Concurrency.Partial = true }, 2, ""},
		{"overridden", 1, 1, false, func(in *scheduler.EvalInput) {
			in.Override = wadi.Override{Count: 1, Until: in.Now.Add(time.Hour)}
		}, 2, scheduler.RuleMoving},
		{"overridden, and one more is there", 2, 1, false, func(in *scheduler.EvalInput) {
			in.Override = wadi.Override{Count: 1, Until: in.Now.Add(time.Hour)}
		}, 2, scheduler.RuleMoving},
		{"overridden to zero", 1, 1, false, func(in *scheduler.EvalInput) {
			in.Override = wadi.Override{Until: in.Now.Add(time.Hour)}
			in.Loads.Concurrency = scheduler.Averages{Coverage: 1, PanicCoverage: 1, Idle: time.Hour, End: in.Now}
		}, 0, ""},
		{"nothing is known", 2, 1, false, func(in *scheduler.EvalInput) { in.Loads = scheduler.Loads{} }, 2, ""},
	} {
		in := evaluation(running(tt.count))
		in.Scaling.Max = 3
		in.Migrating, in.MigrationHasNoPlace = tt.moving, tt.inVain
		if tt.change != nil {
			tt.change(&in)
		}
		d, _ := scheduler.Evaluate(in)
		if d.Desired != tt.want || tt.rule != "" && d.Rule != tt.rule || tt.rule == "" && d.Rule == scheduler.RuleMoving {
			t.Errorf("%s: %d by %s, want %d by %s: %s", tt.name, d.Desired, d.Rule, tt.want, tt.rule, d.Reason)
		}
	}
}

func TestMigration(t *testing.T) {
	var m scheduler.Migration
	for i, step := range []struct {
		moving    int
		diagnosis string
		inVain    bool
	}{
		{0, "no node fits: memory exhausted on 1 node", false},
		{1, "task web: exit code 1", false},
		{1, "no node fits: 1 node of 1 filtered", true},
		{1, "", true}, // It is not tried again while the same instances migrate.
		{0, "", false},
		{1, "", false},
	} {
		if m = m.Next(step.moving, step.diagnosis); m.NoPlace != step.inVain {
			t.Errorf("step %d: %+v", i, m)
		}
	}
}
