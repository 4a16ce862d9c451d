package wadi_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

// What was stored when a service had one metric is still read.
func TestScaling_ReadsWhatWasStored(t *testing.T) {
	for _, tt := range []struct {
		name, stored string
		want         wadi.Scaling
	}{
		{"one metric", `{"min":1,"window":"1m0s","metric":"rps","target":50,"utilization":0.7}`,
			wadi.Scaling{Min: 1, Window: wadi.Duration(time.Minute), Metrics: []wadi.MetricTarget{{Metric: wadi.RPS, Target: 50, Utilization: 0.7}}}},
		{"several", `{"metrics":[{"metric":"rps","target":50,"utilization":0.7},{"metric":"cpu","target":80,"utilization":1}]}`,
			wadi.Scaling{Metrics: []wadi.MetricTarget{{Metric: wadi.RPS, Target: 50, Utilization: 0.7}, {Metric: wadi.CPU, Target: 80, Utilization: 1}}}},
		{"nothing", `{}`, wadi.Scaling{}},
		{"none", `{"metric":"","target":0,"utilization":0}`, wadi.Scaling{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got wadi.Scaling
			if err := json.Unmarshal([]byte(tt.stored), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Fatal(diff)
			}
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var again wadi.Scaling
			if err := json.Unmarshal(text, &again); err != nil || cmp.Diff(got, again) != "" {
				t.Fatalf("written and read: %v, %s", err, cmp.Diff(got, again))
			}
		})
	}
	var s wadi.Scaling
	if err := json.Unmarshal([]byte(`{"min":"x"}`), &s); err == nil {
		t.Error("a wrong type is read")
	}
}

func TestRevisionState_ReadsWhatWasStored(t *testing.T) {
	decider := wadi.Decider{Started: true, PanicSince: time.Unix(1000, 0).UTC(), HighestInPanic: 5, Delay: []wadi.DelayBucket{{Index: 500, Max: 5}}}
	for _, tt := range []struct {
		name, stored string
		want         wadi.RevisionState
	}{
		{"one decider", `{"phase":"ready","since":"2026-01-01T00:00:00Z","decider":{"started":true,"panic_since":"1970-01-01T00:16:40Z","highest_in_panic":5,"delay":[{"index":500,"max":5}]}}`,
			wadi.RevisionState{Phase: wadi.Ready, Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Deciders: wadi.Deciders{wadi.Concurrency: decider, wadi.RPS: decider}}},
		{"one that never started", `{"phase":"ready","since":"2026-01-01T00:00:00Z","decider":{}}`,
			wadi.RevisionState{Phase: wadi.Ready, Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"one for each metric", `{"phase":"ready","since":"2026-01-01T00:00:00Z","deciders":{"cpu":{"started":true}}}`,
			wadi.RevisionState{Phase: wadi.Ready, Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Deciders: wadi.Deciders{wadi.CPU: {Started: true}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got wadi.RevisionState
			if err := json.Unmarshal([]byte(tt.stored), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
	var s wadi.RevisionState
	if err := json.Unmarshal([]byte(`{"decider":[]}`), &s); err == nil {
		t.Error("a wrong type is read")
	}
}
