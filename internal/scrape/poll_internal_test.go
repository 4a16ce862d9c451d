package scrape

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// However many idle instances there are, they are asked at a bounded rate.
func TestPollFor(t *testing.T) {
	s := New(hclog.NewNullLogger(), nil)
	for _, tt := range []struct{ sources, perSecond int }{{10, 1}, {1000, 34}, {4500, 150}, {20000, 160}} {
		rate := 0.0
		for i := range tt.sources {
			wait := s.pollFor(wadi.SourceInstance, cyclePosition(i), tt.sources)
			if wait < s.Wait*3/4 || wait > 4*time.Minute {
				t.Fatalf("with %d sources a poll lasts %v", tt.sources, wait)
			}
			rate += 1 / wait.Seconds()
		}
		if rate > float64(tt.perSecond) {
			t.Errorf("%d idle instances are asked %.1f times a second, want %d at most", tt.sources, rate, tt.perSecond)
		}
	}
	if wait := s.pollFor(wadi.SourceActivator, 0.5, 20000); wait != s.Wait {
		t.Errorf("an activator's poll lasts %v, want %v", wait, s.Wait)
	}
}
