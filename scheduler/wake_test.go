package scheduler_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wadi-run/wadi/scheduler"
)

func TestWake(t *testing.T) {
	zero := scheduler.JobState{Exists: true, Index: 7}
	one := scheduler.JobState{Exists: true, Count: 1, Index: 8}
	for _, tt := range []struct {
		name string
		in   scheduler.WakeState
		want scheduler.WakeAction
	}{
		{"at zero", scheduler.WakeState{Job: zero}, scheduler.WakeAction{Kind: scheduler.WakeScale, Count: 1, Index: 7}},
		{"activation", scheduler.WakeState{Job: zero, Activation: 3}, scheduler.WakeAction{Kind: scheduler.WakeScale, Count: 3, Index: 7}},
		{"activation above max", scheduler.WakeState{Job: zero, Activation: 3, Max: 2}, scheduler.WakeAction{Kind: scheduler.WakeScale, Count: 2, Index: 7}},
		{"placed already", scheduler.WakeState{Job: one, Alive: 1, Waited: time.Hour}, scheduler.WakeAction{}},
		{"not placed yet", scheduler.WakeState{Job: one, Waited: time.Second}, scheduler.WakeAction{}},
		{"never placed", scheduler.WakeState{Job: one, Waited: 4 * time.Second}, scheduler.WakeAction{Kind: scheduler.WakeEvaluate}},
		{"can't be placed", scheduler.WakeState{Job: one, Waited: time.Hour, Blocked: true}, scheduler.WakeAction{}},
		{"missing", scheduler.WakeState{}, scheduler.WakeAction{Kind: scheduler.WakeRegister, Count: 1}},
		{
			"stopped by hand", scheduler.WakeState{Job: scheduler.JobState{Exists: true, Stopped: true, Count: 4, Index: 9}},
			scheduler.WakeAction{Kind: scheduler.WakeRegister, Count: 1, Index: 9},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := scheduler.Wake(tt.in)
			if (got.Reason == "") != (got.Kind == scheduler.WakeNone) {
				t.Errorf("reason %q of kind %d", got.Reason, got.Kind)
			}
			if d := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(scheduler.WakeAction{}, "Reason")); d != "" {
				t.Fatalf("(-want +got)\n%s", d)
			}
		})
	}
}
