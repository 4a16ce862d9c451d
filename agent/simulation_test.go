package agent

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	simulate = flag.Int("simulate", 100, "random histories of TestSimulation")
	simSeed  = flag.Uint64("seed", 0, "the history of TestSimulation that alone is played; 0: many")
)

const (
	simSettles = 5 * time.Minute // After the last fault.
	simPasses  = 400             // Of the controller, until all is settled.
)

// outcome is how a history went.
type outcome struct {
	broken string
	trace  []string
	passes int
	calls  int
	took   time.Duration // Until it settled.
}

// play plays a history.
func play(t *testing.T, seed uint64, agents int, acts []act, tracing bool) (out outcome) {
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed, agents)
		w.tracing = tracing
		defer w.close()
		for range 6 {
			w.tick()
		}
		for _, a := range acts {
			for until := time.Now().Add(a.At); time.Now().Before(until) && w.broken == ""; {
				w.tick()
			}
			if w.broken != "" {
				break
			}
			w.do(a)
		}
		w.settle(&out)
		out.broken, out.trace, out.calls = w.broken, w.trace, w.gate.Calls()
	})
	return out
}

// settle ends all faults, and waits until everything is as it has to be.
func (w *world) settle(out *outcome) {
	for w.broken == "" && len(w.faults) > 0 {
		w.tick()
	}
	passes := w.passes()
	began, why := time.Now(), ""
	for w.broken == "" {
		for range 4 {
			w.tick()
		}
		if why = w.unsettled(); why == "" {
			out.took, out.passes = time.Since(began), w.passes()-passes
			return
		}
		if time.Since(began) > simSettles || w.passes()-passes > simPasses {
			w.fail("not settled %v and %d passes after the last fault: %s", time.Since(began), w.passes()-passes, why)
		}
	}
}

func (w *world) passes() (n int) {
	for _, t := range w.terms {
		n += t.passes
	}
	return n
}

// Nothing that may happen breaks what Wadi promises, and some time after everything works
// again all is as it was submitted. A history that fails is shown with its seed, as short as it
// can be: -seed plays it again.
func TestSimulation(t *testing.T) {
	first, n := uint64(1), uint64(*simulate)
	if *simSeed > 0 {
		first, n = *simSeed, 1
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	began := time.Now()
	var mu sync.Mutex
	var worst outcome
	broken := 0
	t.Run("histories", func(t *testing.T) {
		workers := min(uint64(runtime.GOMAXPROCS(0)), n)
		for worker := range workers {
			t.Run(fmt.Sprintf("worker %d", worker+1), func(t *testing.T) {
				t.Parallel()
				for seed := first + worker; seed < first+n; seed += workers {
					agents, acts := history(seed)
					out := play(t, seed, agents, acts, false)
					mu.Lock()
					worst.took, worst.passes, worst.calls = max(worst.took, out.took), max(worst.passes, out.passes), worst.calls+out.calls
					if out.broken != "" {
						broken++
					}
					enough := broken > 2
					mu.Unlock()
					if out.broken != "" {
						t.Errorf("seed %d: %s", seed, shrunk(t, seed, agents, acts, out.broken))
					}
					if enough {
						return
					}
				}
			})
		}
	})
	t.Logf("%d histories in %v, %d calls; the slowest settled after %v and %d passes",
		n, time.Since(began).Round(time.Millisecond), worst.calls, worst.took, worst.passes)
}

// The same seed gives the same history, to the last call.
func TestSimulation_SameSeed(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		agents, acts := history(seed)
		one, two := play(t, seed, agents, acts, true), play(t, seed, agents, acts, true)
		for i, line := range one.trace {
			if i >= len(two.trace) || two.trace[i] != line {
				t.Fatalf("seed %d: line %d is %q, and then %q", seed, i, line, two.trace[min(i, len(two.trace)-1)])
			}
		}
	}
}

// shrunk is the shortest beginning of a history that fails, without the acts that it does
// not need, and how it goes.
func shrunk(t *testing.T, seed uint64, agents int, acts []act, broken string) string {
	fails := func(some []act) bool { return play(t, seed, agents, some, false).broken != "" }
	for n := range acts {
		if fails(acts[:n]) {
			acts = acts[:n]
			break
		}
	}
	for i := len(acts) - 1; i >= 0; i-- {
		less := append(append([]act{}, acts[:i]...), acts[i+1:]...)
		if i < len(acts)-1 {
			less[i].At += acts[i].At
		}
		if fails(less) {
			acts = less
		}
	}
	out := play(t, seed, agents, acts, true)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nwith %d agents, shortest: %s\n", broken, agents, out.broken)
	for _, a := range acts {
		fmt.Fprintf(&b, "\t%s\n", a)
	}
	if path := os.Getenv("SIMULATION_TRACE"); path != "" {
		_ = os.WriteFile(fmt.Sprintf("%s.%d", path, seed), []byte(strings.Join(out.trace, "\n")), 0o600)
	}
	tail := out.trace[max(0, len(out.trace)-40):]
	b.WriteString(strings.Join(tail, "\n"))
	return b.String()
}
