package parking_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/parking"
)

// The more there are the sooner.
func TestTime(t *testing.T) {
	for conns, want := range map[int64]time.Duration{
		0: parking.MaxIdle, parking.Threshold: parking.MaxIdle, 2 * parking.Threshold: parking.MaxIdle / 2, 16384: parking.MinIdle,
	} {
		if got := parking.IdleTime(conns); got != want {
			t.Errorf("%d connections: %v, want %v", conns, got, want)
		}
	}
}
