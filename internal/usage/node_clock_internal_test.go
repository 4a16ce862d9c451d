package usage

import (
	"strings"
	"testing"
	"time"
)

// This machine's clock may be set by hours while instances are read: present use stays
// present.
func TestNodeClock_LocalClockIsSet(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	for _, differ := range []time.Duration{0, time.Minute, -time.Minute} { // Difference of the node's clock, at first.
		for _, set := range []time.Duration{0, time.Minute, time.Hour, -time.Hour} {
			var c nodeClock
			for i := range 20 {
				then := begin.Add(time.Duration(i) * Every)
				now := then
				if i >= 10 {
					now = now.Add(set)
				}
				at := then.Add(differ - time.Second).Round(0)
				got, err := c.localTime(at, now)
				if i == 0 {
					continue // The first sample may be an old one.
				}
				if age := now.Sub(got); err != nil || age < 0 || age > maxAge {
					t.Errorf("differ %v, set by %v, reading %d: %v old, %v", differ, set, i, age, err)
				}
				if !strings.Contains(got.String(), " m=") {
					t.Errorf("differ %v, set by %v: %v is of a clock that can be set", differ, set, got)
				}
			}
		}
	}
}
