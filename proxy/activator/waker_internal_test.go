package activator

import (
	"errors"
	"testing"
	"time"
)

func TestWaker_OneWakeAtATime(t *testing.T) {
	now := time.Unix(1000, 0)
	var k waker
	if ask, _ := k.due(now); !ask {
		t.Fatal("the first wake is not due")
	}
	if ask, next := k.due(now); ask || !next.IsZero() {
		t.Errorf("due again while the wake is under way: %v, at %v", ask, next)
	}
	k.ended(nil, now)
	if ask, next := k.due(now); ask || !next.Equal(now.Add(rewakeAfter)) {
		t.Errorf("after a wake: due %v, next at %v, want %v", ask, next, now.Add(rewakeAfter))
	}
	k.instancesLost(now.Add(2 * time.Second))
	if ask, _ := k.due(now.Add(2 * time.Second)); !ask {
		t.Error("not due although the woken instance has ended")
	}
}

func TestWaker_BacksOff(t *testing.T) {
	now := time.Unix(1000, 0)
	k := waker{}
	for n, want := range []time.Duration{wakeBackoff, 2 * wakeBackoff, 4 * wakeBackoff} {
		k.due(now)
		k.ended(errors.New("away"), now)
		if _, next := k.due(now); next.Sub(now) != want {
			t.Errorf("after failure %d: next in %v, want %v", n+1, next.Sub(now), want)
		}
		now = now.Add(want)
	}
	k.failures = 50
	k.due(now)
	k.ended(errors.New("away"), now)
	if _, next := k.due(now); next.Sub(now) != wakeMaxDelay {
		t.Errorf("after many failures: next in %v, want %v", next.Sub(now), wakeMaxDelay)
	}
	k.endCold()
	if k.err != nil || k.failures != 0 {
		t.Errorf("a ready instance leaves %v after %d failures", k.err, k.failures)
	}
}

// A reason counts from the start of the present cold start, not from an earlier one.
func TestWaker_BlockedFor(t *testing.T) {
	t0 := time.Unix(1000, 0)
	var k waker
	if got := k.blockedFor(t0, t0.Add(time.Hour)); got != 0 {
		t.Errorf("blocked for %v without a cold start", got)
	}
	k.beginCold(t0)
	k.beginCold(t0.Add(time.Second))
	for since, want := range map[time.Duration]time.Duration{-time.Hour: 3 * time.Second, 2 * time.Second: time.Second} {
		if got := k.blockedFor(t0.Add(since), t0.Add(3*time.Second)); got != want {
			t.Errorf("since %v: blocked for %v, want %v", since, got, want)
		}
	}
}

// The time to place counts from the first wake for which nothing was placed, and once.
func TestWaker_Placed(t *testing.T) {
	t0 := time.Unix(1000, 0)
	var k waker
	if _, ok := k.placed(t0); ok {
		t.Error("an instance that was not woken counts as placed for a wake")
	}
	k.begin(t0)
	k.begin(t0.Add(time.Second))
	if took, ok := k.placed(t0.Add(3 * time.Second)); !ok || took != 3*time.Second {
		t.Errorf("got %v, %v, want 3s", took, ok)
	}
	if _, ok := k.placed(t0.Add(4 * time.Second)); ok {
		t.Error("the second instance counts as well")
	}
}
