package activator

import (
	"testing"
	"time"
)

// Instances with the order to go may be many, for minutes: they are probed so seldom that
// all of them together cost little.
func TestPause_OfManyThatGo(t *testing.T) {
	for probing, want := range map[int64]time.Duration{1: 100 * time.Millisecond, 50: 100 * time.Millisecond, 200: 400 * time.Millisecond, 5000: time.Second} {
		i := &instance{r: &revision{a: &Activator{}}}
		i.r.a.probing.Store(probing)
		if got := i.pause(isGoing, 10*time.Second); got != want {
			t.Errorf("of %d: %v, want %v", probing, got, want)
		}
	}
}
