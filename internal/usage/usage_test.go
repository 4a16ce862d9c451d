package usage_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/usage"
)

// reader is a fake with the use of instances.
type reader struct {
	mu        sync.Mutex
	cpu       map[string]float64 // Missing: no answer.
	reads     map[string]int
	now, most int // Reads in flight.
	takes     time.Duration
	old       time.Duration // Age of the samples.
	ahead     time.Duration // Differences of the nodes' clocks.
	stopped   time.Time     // Since when nothing is measured; zero: it is.
	forgotten []string
}

func (r *reader) Read(ctx context.Context, in usage.Instance) (usage.Reading, error) {
	r.mu.Lock()
	r.reads[in.ID]++
	r.now++
	r.most = max(r.most, r.now)
	cpu, ok := r.cpu[in.ID]
	r.mu.Unlock()
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
	}
	r.mu.Lock()
	r.now--
	r.mu.Unlock()
	if !ok {
		return usage.Reading{}, errors.New("no answer")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := time.Now().Add(r.ahead - r.old)
	if !r.stopped.IsZero() {
		at = r.stopped
	}
	return usage.Reading{CPU: cpu, Memory: cpu / 2, At: at}, nil
}

func (r *reader) Forget(id string) { r.forgotten = append(r.forgotten, id) }

func (r *reader) set(id string, cpu float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cpu < 0 {
		delete(r.cpu, id)
		return
	}
	r.cpu[id] = cpu
}

const rev = "hello-00001"

// following runs test in a bubble with a follower of usage.
func following(t *testing.T, test func(u *usage.Usage, r *reader)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{cpu: map[string]float64{}, reads: map[string]int{}}
		u := usage.New(r, hclog.NewNullLogger(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- u.Run(ctx) }()
		defer func() { cancel(); <-done }()
		test(u, r)
	})
}

// set follows instances that were created just now, or age ago.
func set(u *usage.Usage, age time.Duration, ids ...string) {
	var all []usage.Instance
	for _, id := range ids {
		all = append(all, usage.Instance{ID: id, Revision: rev, Task: "web", Placed: time.Now().Add(-age)})
	}
	u.Set([]usage.Revision{{ID: rev, Window: time.Minute}}, all)
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// told changes the fake.
func (r *reader) told(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func wantAverage(t *testing.T, what string, got usage.Average, mean, coverage float64) {
	t.Helper()
	if math.Abs(got.Mean-mean) > 0.02*mean+0.01 || math.Abs(got.Coverage-coverage) > 0.02 {
		t.Errorf("%s: got %+v, want a mean of %g and %g known", what, got, mean, coverage)
	}
}

func averages(t *testing.T, u *usage.Usage) usage.Averages {
	t.Helper()
	a, ok := u.CPU(rev, time.Minute, 6*time.Second)
	if !ok {
		t.Fatal("the revision is not followed")
	}
	return a
}

func TestUsage_SumsInstances(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		r.set("one", 80)
		r.set("two", 40)
		set(u, time.Second, "one", "two")
		pass(70 * time.Second)
		a := averages(t, u)
		wantAverage(t, "window", a.Stable, 120, 1)
		wantAverage(t, "panic window", a.Panic, 120, 1)
		m, _ := u.Memory(rev, time.Minute, 6*time.Second)
		wantAverage(t, "memory", m.Stable, 60, 1)

		r.set("one", 200) // The short window is known first.
		pass(9 * time.Second)
		a = averages(t, u)
		wantAverage(t, "panic window", a.Panic, 240, 1)
		if a.Stable.Mean < 130 || a.Stable.Mean > 145 {
			t.Errorf("window: got %+v, want about 138", a.Stable)
		}
	})
}

// The use of an instance while it starts is not counted.
func TestUsage_StartIsNotCounted(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		r.set("one", 400)
		set(u, 0, "one")
		pass(5 * time.Second)
		if a := averages(t, u); a.Stable.Coverage != 0 {
			t.Errorf("got %+v after 5 s, want nothing known", a.Stable)
		}
		r.set("one", 50)
		pass(62 * time.Second)
		wantAverage(t, "window", averages(t, u).Panic, 50, 1)
	})
}

func TestUsage_GapsAreUnknownAndNotRest(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		r.set("one", 80)
		set(u, time.Second, "one")
		pass(70 * time.Second)
		r.set("one", -1)
		pass(39 * time.Second) // 9 s of it are covered by the last sample.
		a := averages(t, u)
		wantAverage(t, "window", a.Stable, 80, 0.5)
		if a.Panic.Coverage != 0 {
			t.Errorf("panic window: got %+v, want nothing known", a.Panic)
		}
		r.set("one", 80)
		pass(70 * time.Second)
		wantAverage(t, "after it answers again", averages(t, u).Stable, 80, 1)
	})
}

// Nomad keeps no history, so a new reader does not know the past.
func TestUsage_NewLeaderKnowsNothingOfBefore(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		r.set("one", 80)
		set(u, time.Hour, "one")
		pass(15 * time.Second)
		a := averages(t, u)
		wantAverage(t, "panic window", a.Panic, 80, 1)
		if c := a.Stable.Coverage; c < 0.3 || c > 0.5 {
			t.Errorf("got %g of the window known after 15 s, want 15 s and what one reading stands for", c)
		}
	})
}

func TestUsage_EndedCountsNothing(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		r.set("one", 60)
		r.set("two", 60)
		set(u, time.Second, "one", "two")
		pass(90 * time.Second)
		set(u, 91*time.Second, "one")
		pass(30 * time.Second)
		wantAverage(t, "window", averages(t, u).Stable, 90, 1)
		wantAverage(t, "panic window", averages(t, u).Panic, 60, 1)
		if fmt.Sprint(r.forgotten) != "[two]" {
			t.Errorf("forgot %v, want two", r.forgotten)
		}
		u.Set(nil, nil)
		if _, ok := u.CPU(rev, time.Minute, 6*time.Second); ok {
			t.Error("a revision that is not listed is followed")
		}
		n := r.reads["one"]
		pass(time.Minute)
		if r.reads["one"] != n {
			t.Error("instances of a revision that is not listed are read")
		}
	})
}

func TestUsage_FewAtATimeAndSeldom(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		r.takes = 200 * time.Millisecond
		var ids []string
		for i := range 60 {
			ids = append(ids, fmt.Sprint("i", i))
			r.set(ids[i], 10)
		}
		set(u, time.Second, ids...)
		pass(30 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.most > 8 {
			t.Errorf("%d readings at once, want few", r.most)
		}
		for _, id := range ids {
			if n := r.reads[id]; n < 8 || n > 11 {
				t.Fatalf("%s was read %d times within 30 s, want every three seconds", id, n)
			}
		}
	})
}

// The reason why an instance can't be read is shown after a while, and vanishes with the
// next successful read.
func TestUsage_SaysWhatCanNotBeRead(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		want := func(when, want string) {
			t.Helper()
			if got := u.ReadError(rev); got != want {
				t.Errorf("%s: got %q, want %q", when, got, want)
			}
		}
		r.set("two", 10)
		set(u, time.Second, "one", "two")
		pass(10 * time.Second)
		want("for 10 s", "")
		pass(10 * time.Second)
		want("for 20 s", "no answer")
		r.set("one", 10)
		pass(4 * time.Second)
		want("read", "")
		r.set("one", -1)
		pass(10 * time.Second)
		want("for 10 s again", "")
		pass(10 * time.Second)
		want("for 20 s again", "no answer")
		set(u, time.Minute, "two")
		want("gone", "")
		u.Set(nil, nil)
		want("not followed", "")
	})
}

// The use of a new instance is unknown until its start is over, and as long as a window
// reaches back to it; and the processor time that it takes from the others is no idleness.
func TestUsage_WhatBeginsIsUnknown(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		r.set("one", 240)
		set(u, time.Second, "one")
		pass(70 * time.Second)
		begun := time.Now()
		placed := func(starting bool, restarts int) {
			u.Set([]usage.Revision{{ID: rev, Window: 10 * time.Second}}, []usage.Instance{
				{ID: "one", Revision: rev, Task: "web", Placed: begun.Add(-time.Hour)},
				{ID: "two", Revision: rev, Task: "web", Placed: begun, Starting: starting, Restarts: restarts},
			})
		}
		short := func() usage.Averages {
			a, _ := u.CPU(rev, 10*time.Second, 2*time.Second)
			return a
		}
		placed(true, 0)
		pass(time.Minute)
		wantAverage(t, "placed", short().Stable, 240, 1)
		if n := r.reads["two"]; n > 0 {
			t.Errorf("what does not run yet is read %d times", n)
		}
		r.set("one", 120)
		r.set("two", 120)
		placed(false, 0)
		pass(5 * time.Second)
		if a := short(); a.Panic.Coverage > 0.6 || a.Panic.Counted < 0.99 {
			t.Errorf("it starts: got %+v, want half of it known, and all that counts", a.Panic)
		}
		for known := false; !known; pass(250 * time.Millisecond) {
			a := short().Stable
			if known = a.Coverage > 0.99; known && a.Mean < 230 {
				t.Fatalf("got %+v, want all the time what both use, or less than all known", a)
			}
			if time.Since(begun) > 2*time.Minute {
				t.Fatalf("got %+v: it is never known", a)
			}
		}
		placed(false, 1)
		pass(5 * time.Second)
		if a := short(); a.Panic.Coverage > 0.6 {
			t.Errorf("it was restarted: got %+v, want half of it known", a.Panic)
		}
		pass(time.Minute)
		wantAverage(t, "after it", short().Stable, 240, 1)
	})
}

// A sample counts from when it was measured, whatever the node's clock says, and only
// once.
func TestUsage_FiguresHaveTheirOwnTime(t *testing.T) {
	for _, ahead := range []time.Duration{0, 300 * time.Millisecond, time.Hour, -time.Hour} {
		following(t, func(u *usage.Usage, r *reader) {
			r.ahead = ahead
			r.set("one", 80)
			set(u, time.Second, "one")
			pass(70 * time.Second)
			wantAverage(t, "window", averages(t, u).Stable, 80, 1)

			if ahead == 0 {
				r.told(func() { r.old = 3 * time.Second })
				pass(10 * time.Second)
				a := averages(t, u)
				wantAverage(t, "read late", a.Stable, 80, 1)
				if late := time.Since(a.End); late < 3*time.Second || late > 6500*time.Millisecond {
					t.Errorf("measured %v ago, want 3 s and what is between two readings", late)
				}
			}
			r.told(func() { r.ahead -= 30 * time.Minute }) // Set back.
			pass(70 * time.Second)
			wantAverage(t, "clock set back", averages(t, u).Stable, 80, 1)

			r.told(func() { r.stopped = time.Now().Add(r.ahead) })
			pass(20 * time.Second)
			if a := averages(t, u); a.Panic.Coverage > 0 || time.Since(a.End) < 15*time.Second {
				t.Errorf("nothing new is told: got %+v, want the panic window unknown", a)
			}
			if why := u.ReadError(rev); !strings.Contains(why, "the same statistics") {
				t.Errorf("got %q, want that it tells the same", why)
			}
		})
	}
}

// An old sample of a different clock is not taken for a new one.
func TestUsage_FirstFigureMayBeOld(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		r.stopped = time.Now().Add(-10 * time.Minute)
		r.set("one", 80)
		set(u, time.Hour, "one")
		pass(20 * time.Second)
		if a := averages(t, u); a.Stable.Coverage > 0 {
			t.Errorf("got %+v, want nothing known", a)
		}
	})
}
