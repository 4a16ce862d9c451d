//go:build e2e

package scaling_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// highest watches a service's count, and returns the highest so far.
func highest(t *testing.T, service string) func() int {
	got := extremes(t, service)
	return func() int { _, most := got(); return most }
}

// extremes watches a service's count from now on, and returns the lowest and the
// highest so far.
func extremes(t *testing.T, service string) func() (least, most int) {
	var mu sync.Mutex
	least, most, done := math.MaxInt, 0, make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			if n, err := stack.Count(t.Context(), revision(service)); err == nil {
				mu.Lock()
				least, most = min(least, n), max(most, n)
				mu.Unlock()
			}
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { close(done); running.Wait() })
	return func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return least, most
	}
}

// A step of the load: from one instance to ten, each of which carries its target, and back
// to one and to none, without a lost request. Starting instances are not requested twice.
// After half a minute of silence a request is still served.
func TestStep(t *testing.T) {
	t.Parallel()
	const target, full = 2, 20
	stack.Deploy(t, hello("step", perInstance(target)+"max = 20"))
	most := highest(t, "step")
	trickle := load(t, "step", 1, 200*time.Millisecond)
	trickle.Wait(t, 5)
	waitCount(t, "step", 1)

	heavy := load(t, "step", full-1, 200*time.Millisecond)
	waitCount(t, "step", full/target)
	steady := waitDecision(t, "step", "with ten ready", func(d wadi.Decision) bool {
		return d.Ready == full/target && d.Stable > 0.9*full
	})
	if each := steady.Stable / float64(steady.Ready); each < 0.8*target || each > 1.2*target {
		t.Errorf("each instance has %.2f requests at once, want about %d: %+v", each, target, steady)
	}
	wantCount(t, "step", full/target, 3*time.Second)
	if n := heavy.Instances(); n < full/target {
		t.Errorf("%d instances have answered, want %d", n, full/target)
	}
	wantAnswered(t, heavy)
	waitCount(t, "step", 1)
	wantAnswered(t, trickle)
	silence := time.Now()
	stack.ToZero(t, "step-00001")
	if got := most(); got != full/target {
		t.Errorf("the count reached %d, want %d: those that start count as coming", got, full/target)
	}
	wantSentences(t, "step")
	time.Sleep(time.Until(silence.Add(30 * time.Second)))
	wantCount(t, "step", 0, time.Second)
	harnesstest.WantStatus(t, stack.Get(t, "step", "/"), 200)
}

// wantSentences expects explain and Nomad's history to give the same reasons.
func wantSentences(t *testing.T, service string) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // Nomad writes it after the job.
		var history []string
		for _, e := range stack.Scalings(t, revision(service)) {
			history = append(history, e.Message)
		}
		carried := 0
		for _, d := range decisions(t, service) {
			if d.Executed {
				carried++
				if !slices.Contains(history, d.Reason) {
					return fmt.Errorf("Nomad's history lacks %q:\n%q", d.Reason, history)
				}
			}
		}
		if carried == 0 {
			return fmt.Errorf("nothing was executed:\n%s", why(t, service))
		}
		return nil
	})
}

// A load that comes and goes within the window is carried by the instances that stay, and
// loses no request.
func TestSawtooth(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("saw", perInstance(2)+"max = 6"))
	most := highest(t, "saw")
	base := load(t, "saw", 1, 100*time.Millisecond)
	for range 4 {
		tooth := load(t, "saw", 7, 100*time.Millisecond)
		time.Sleep(3 * time.Second)
		wantAnswered(t, tooth)
		time.Sleep(3 * time.Second)
	}
	if got := most(); got < 2 || got > 4 {
		t.Errorf("the count reached %d, want 2 to 4 for at most 8 requests at once", got)
	}
	if steps := len(stack.Scalings(t, "saw-00001")); steps > 12 {
		t.Errorf("scaled %d times in four teeth:\n%s", steps, why(t, "saw"))
	}
	wantAnswered(t, base)
}

// The instances' CPU usage, as Nomad's client measures it, scales the service up.
func TestCPU(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("burn", "max = 2\n    metric \"concurrency\" {\n      target = 1000\n    }\n    metric \"cpu\" {\n      target = 80\n    }"))
	burn := harnesstest.StartWorkers(t, 1, 50*time.Millisecond, harnesstest.Getting(stack.Client(t), harnesstest.URL("burn", "/?cpu=20ms")))
	waitCount(t, "burn", 2)
	d := waitDecision(t, "burn", "by cpu", func(d wadi.Decision) bool { return d.Executed && d.Desired == 2 })
	if d.Metric != wadi.CPU || len(d.Readings) != 2 || d.Stable < 80 {
		t.Errorf("got %+v, want it by cpu, and what both metrics say", d)
	}
	wantAnswered(t, burn)
	stack.ToZero(t, "burn-00001") // Requests alone decide about zero.
}

// A CPU load shared by the instances goes on while some of them start. Their usage is not
// known yet, so the first one's smaller share is no reason to scale down, even without
// panic.
func TestCPU_StartingInstancesAreUnknown(t *testing.T) {
	t.Parallel()
	const service = "share"
	stack.Deploy(t, hello(service, "max = 3\n    panic_threshold_percent = 1000\n    metric \"cpu\" {\n      target = 600\n    }"))
	burn := harnesstest.StartWorkers(t, 1, 50*time.Millisecond, harnesstest.Getting(stack.Client(t), harnesstest.URL(service, "/?cpu=20ms")))
	raise := waitDecision(t, service, "by cpu", func(d wadi.Decision) bool { return d.Executed && d.Desired > d.Count && d.Metric == wadi.CPU })
	ready := waitDecision(t, service, "with all ready", func(d wadi.Decision) bool {
		return d.Time.After(raise.Time) && d.Ready >= raise.Desired && d.Starting == 0
	})
	known := ready.Time.Add(4 * time.Second) // Less than a window of all of them; what is decided after it may be lower.
	waitDecision(t, service, "after all is known", func(d wadi.Decision) bool { return d.Time.After(known) })
	wantAnswered(t, burn)
	for _, d := range decisions(t, service) {
		if d.Time.After(raise.Time) && d.Time.Before(known) && d.Executed && d.Desired < d.Count {
			t.Errorf("lowered %v after the raise, on what is known of some:\n%s", d.Time.Sub(raise.Time), why(t, service))
		}
	}
	stack.ToZero(t, wadi.RevisionID(service, 1))
}
