package usage_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/usage"
)

// reader answers with what instances are said to use.
type reader struct {
	mu        sync.Mutex
	cpu       map[string]float64 // Missing: no answer.
	reads     map[string]int
	now, most int // Readings under way.
	takes     time.Duration
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
	return usage.Reading{CPU: cpu, Memory: cpu / 2}, nil
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

// set follows instances that were placed just now, or with an age.
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

		r.set("one", 200) // The short window is the first to know.
		pass(9 * time.Second)
		a = averages(t, u)
		wantAverage(t, "panic window", a.Panic, 240, 1)
		if a.Stable.Mean < 130 || a.Stable.Mean > 145 {
			t.Errorf("window: got %+v, want about 138", a.Stable)
		}
	})
}

// What an instance uses while it starts is not counted.
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
		pass(39 * time.Second) // 9 s of it are covered by the last reading.
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

// Nomad keeps no history, so that somebody who comes anew does not know what was.
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

// Why an instance can't be read is said when it has been so for a while, and no more
// when one reading succeeds.
func TestUsage_SaysWhatCanNotBeRead(t *testing.T) {
	following(t, func(u *usage.Usage, r *reader) {
		want := func(when, want string) {
			t.Helper()
			if got := u.Unread(rev); got != want {
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
