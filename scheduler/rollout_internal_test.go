package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

// The figures are of Knative's tests (pkg/reconciler/route/traffic/rollout_test.go). It counts
// in whole percents of all traffic, so a step is rounded to one to compare.
func TestPaceOf_AsKnative(t *testing.T) {
	for _, tt := range []struct {
		percent        int // Of the target.
		duration, took time.Duration
		step           int
		interval       time.Duration
	}{
		{100, 120 * time.Second, 3 * time.Second, 3, 3 * time.Second},
		{75, 120 * time.Second, 3 * time.Second, 2, 3 * time.Second},
		{50, 120 * time.Second, 3 * time.Second, 1, 3 * time.Second},
		{100, 120 * time.Second, 10 * time.Millisecond, 1, 1202020202 * time.Nanosecond},
		{13, 120 * time.Second, time.Hour, 13, time.Second}, // Knative's 12: it begins with a whole percent.
	} {
		steps, interval := paceOf(&wadi.Rollout{Duration: wadi.Duration(tt.duration)}, tt.took)
		size := shareAfter(1, steps) - shareAfter(0, steps)
		if got := (size*tt.percent + 5000) / 10000; got != tt.step {
			t.Errorf("%d%% over %v, programmed in %v: steps of %d%%, want %d%%", tt.percent, tt.duration, tt.took, got, tt.step)
		}
		if interval < tt.interval || interval > tt.interval+tt.interval/10 {
			t.Errorf("%d%% over %v, programmed in %v: every %v, want %v", tt.percent, tt.duration, tt.took, interval, tt.interval)
		}
	}
}

// Whatever the settings: the steps fill the duration, each grows, and the last is all.
func TestPaceOf_FillsTheDuration(t *testing.T) {
	for _, r := range []wadi.Rollout{
		{Duration: wadi.Duration(time.Second)},
		{Duration: wadi.Duration(10 * time.Minute)},
		{Duration: wadi.Duration(10 * time.Minute), Steps: 4},
		{Duration: wadi.Duration(10 * time.Minute), Hold: wadi.Duration(time.Minute)},
		{Duration: wadi.Duration(10 * time.Minute), Hold: wadi.Duration(time.Hour)},
		{Duration: wadi.Duration(24 * 365 * time.Hour), Steps: 1 << 30},
	} {
		for _, took := range []time.Duration{0, 1, 700 * time.Millisecond, 7 * time.Second, time.Hour} {
			steps, interval := paceOf(&r, took)
			whole := time.Duration(steps) * interval
			if whole > max(time.Second, r.Duration.D()) || whole < min(r.Duration.D()-max(time.Second, took)-time.Second, time.Second) {
				t.Errorf("%+v, programmed in %v: %d steps every %v take %v", r, took, steps, interval, whole)
			}
			share, n := firstShare, 0
			for share < wadi.WeightAll {
				next := nextShare(share, steps)
				if n++; next <= share || stepOf(next, steps) != n+1 {
					t.Fatalf("%+v: step %d (%d) from %d to %d", r, n, stepOf(next, steps), share, next)
				}
				share = next
			}
			if n != steps || share != wadi.WeightAll {
				t.Errorf("%+v: %d steps to %d, want %d to all", r, n, share, steps)
			}
		}
	}
}

func TestGrown_DrainsTheNewestFirst(t *testing.T) {
	shares := []wadi.RolloutShare{{Revision: "c"}, {Revision: "b", Weight: 3000}, {Revision: "a", Weight: 7000}}
	before := slices.Clone(shares)
	for _, tt := range []struct {
		to   int
		want []wadi.RolloutShare
	}{
		{100, []wadi.RolloutShare{{Revision: "c", Weight: 100}, {Revision: "b", Weight: 2900}, {Revision: "a", Weight: 7000}}},
		{3000, []wadi.RolloutShare{{Revision: "c", Weight: 3000}, {Revision: "a", Weight: 7000}}},
		{4000, []wadi.RolloutShare{{Revision: "c", Weight: 4000}, {Revision: "a", Weight: 6000}}},
		{10000, []wadi.RolloutShare{{Revision: "c", Weight: 10000}}},
	} {
		if got := grown(shares, tt.to); !slices.Equal(got, tt.want) {
			t.Errorf("to %d: got %v, want %v", tt.to, got, tt.want)
		}
	}
	if !slices.Equal(shares, before) {
		t.Errorf("the argument was changed: %v", shares)
	}
}

// The parts of every target sum to it, and while one revision grows no other part does.
func TestSplit_IsExact(t *testing.T) {
	for _, weight := range []int{0, 1, 33, 101, 5001, 9999, 10000} {
		shares := []wadi.RolloutShare{{Revision: "c"}, {Revision: "b", Weight: 3333}, {Revision: "a", Weight: 6667}}
		last := split(weight, shares)
		for to := firstShare; to <= wadi.WeightAll; to += 33 {
			next := grown(shares, to)
			parts, sum := split(weight, next), 0
			for i, p := range parts {
				sum += p
				j := slices.IndexFunc(shares, func(s wadi.RolloutShare) bool { return s.Revision == next[i].Revision })
				if i == 0 && p < last[j] || i > 0 && p > last[j] {
					t.Fatalf("%d at %d: parts %v of %v, before %v of %v", weight, to, parts, next, last, shares)
				}
			}
			if sum != weight {
				t.Fatalf("%d at %d: parts %v", weight, to, parts)
			}
			shares, last = next, parts
		}
	}
}
