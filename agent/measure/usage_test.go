package measure

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/usage"
	"github.com/wadi-run/wadi/scheduler"
)

// A window that is known but for the seconds between two readings counts as known; a mean of
// half of the instances' time is a lower bound; and what is not known at all is nothing.
func TestUsageAverages(t *testing.T) {
	end := time.Unix(1700000000, 0)
	for _, tt := range []struct {
		name              string
		coverage, counted float64
		partial, atLeast  bool
	}{
		{"known", 0.995, 1, false, true},
		{"half known", 0.5, 0.5, true, true},
		{"little known", 0.1, 0.1, true, false},
	} {
		a := usage.Averages{End: end}
		a.Stable.Mean, a.Stable.Coverage, a.Stable.Counted = 40, tt.coverage, tt.counted
		a.Panic.Mean, a.Panic.Coverage, a.Panic.Counted = 70, tt.coverage, tt.counted
		want := scheduler.Averages{
			Stable: 40, Panic: 70, Coverage: tt.coverage, PanicCoverage: tt.coverage, Partial: tt.partial, AtLeast: tt.atLeast, End: end,
		}
		if diff := cmp.Diff(want, usageAverages(a, true)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(scheduler.Averages{}, usageAverages(a, false)); diff != "" {
			t.Errorf("%s, not known (-want +got):\n%s", tt.name, diff)
		}
	}
}
