package scrape_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/scrape"
)

// crowd opens n instances that are ready.
func (r rig) crowd(n int) (ids []string, all []*instance) {
	for i := range n {
		id := fmt.Sprintf("i%d", i)
		in := r.instance(id, "b1")
		in.setReady(true)
		ids, all = append(ids, id), append(all, in)
	}
	return ids, all
}

// loadAll gives each instance n requests, until the returned function is called.
func loadAll(all []*instance, n int) (end func()) {
	var ends []func()
	for _, in := range all {
		ends = append(ends, load(in.rec, n, false))
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// asked is the number of their requests for statistics.
func asked(all []*instance) (n int) {
	for _, in := range all {
		n += in.requests("/v1/stats")
	}
	return n
}

// Of many busy instances only so many are read each second, and none rests for longer than
// the cycle. Idle instances and activators are read as before.
func TestTurns_ManyBusyInstances(t *testing.T) {
	scraping(t, func(r rig) {
		ids, all := r.crowd(100)
		busy, idle := all[:90], all[90:]
		act := r.activator("a1", "b1")
		r.follow(append(ids, "a1")...)
		pass(time.Second)
		defer loadAll(busy, 2)()
		defer load(act.of(rev1), 30, false)()
		pass(20 * time.Second)

		before, beforeEach, beforeIdle, beforeAct := asked(busy), make([]int, len(busy)), asked(idle), act.requests("/v1/stats")
		for i, in := range busy {
			beforeEach[i] = in.requests("/v1/stats")
		}
		for range 120 {
			pass(250 * time.Millisecond)
			a := r.averages(rev1)
			if a.Partial || !a.Sampled || !near(a.Panic, 210, 0.001) || a.Coverage != 1 || a.Idle != 0 {
				r.Fatalf("%+v", a)
			}
		}
		if n := asked(busy) - before; n < 870 || n > 930 {
			r.Errorf("90 busy instances were asked %d times in 30s, want %d a second", n, perSecond)
		}
		for i, in := range busy {
			if n := in.requests("/v1/stats") - beforeEach[i]; n < 9 || n > 11 {
				r.Errorf("%s was asked %d times in 30s, want every third second", in.addr, n)
			}
		}
		if n := asked(idle) - beforeIdle; n > 2*len(idle) {
			r.Errorf("%d idle instances were asked %d times in 30s", len(idle), n)
		}
		if n := act.requests("/v1/stats") - beforeAct; n < 28 {
			r.Errorf("the activator was asked %d times in 30s", n)
		}
	})
}

func TestTurns_NotOfFew(t *testing.T) {
	scraping(t, func(r rig) {
		ids, all := r.crowd(perSecond)
		r.follow(ids...)
		pass(time.Second)
		defer loadAll(all, 2)()
		pass(10 * time.Second)
		before := asked(all)
		pass(10 * time.Second)
		if a := r.averages(rev1); a.Partial || a.Sampled || !near(a.Panic, 2*perSecond, 0.001) {
			r.Fatalf("%+v", a)
		}
		if n := asked(all) - before; n < 9.5*perSecond {
			r.Errorf("asked %d times in 10s", n)
		}
	})
}

// An instance reports at its turn what happened since the last one, and an idle instance
// goes back to its open poll.
func TestTurns_LoadEnds(t *testing.T) {
	scraping(t, func(r rig) {
		ids, all := r.crowd(90)
		r.follow(ids...)
		pass(time.Minute)
		end := loadAll(all, 2)
		pass(20 * time.Second)
		end()
		pass(6 * time.Second)
		a := r.averages(rev1)
		if a.Partial || a.Sampled || !near(a.Stable, 180*20.0/60, 6) {
			r.Fatalf("after the load: %+v", a)
		}
		before := asked(all)
		r.s.Confirm(r.Context(), rev1)
		if n := asked(all) - before; n != 90 {
			r.Errorf("%d were asked whether they are at rest", n)
		}
		pass(60 * time.Second)
		if n := asked(all) - before; n > 90+3*90 {
			r.Errorf("asked %d times in a minute of rest", n)
		}
		if a := r.averages(rev1); a.Partial || a.Stable != 0 || a.Idle < 60*time.Second {
			r.Errorf("a minute after the load: %+v", a)
		}
	})
}

// Before a count is lowered only open polls are confirmed: resting instances are
// extrapolated.
func TestTurns_ConfirmLeavesThoseInTurn(t *testing.T) {
	scraping(t, func(r rig) {
		ids, all := r.crowd(100)
		r.follow(ids...)
		pass(time.Second)
		defer loadAll(all[:90], 2)()
		pass(20 * time.Second)
		busy, idle := asked(all[:90]), asked(all[90:])
		r.s.Confirm(r.Context(), rev1)
		if a := r.averages(rev1); a.Partial || !a.Sampled || !near(a.Panic, 180, 0.001) {
			r.Errorf("%+v", a)
		}
		if n := asked(all[90:]) - idle; n != 10 {
			r.Errorf("of 10 idle ones %d were asked", n)
		}
		if n := asked(all[:90]) - busy; n > 6 {
			r.Errorf("%d that take turns were asked", n)
		}
	})
}

// An instance that does not answer at its turn is unknown, and read back later.
func TestTurns_SilentWhenItsTurnComes(t *testing.T) {
	scraping(t, func(r rig) {
		ids, all := r.crowd(90)
		r.follow(ids...)
		pass(time.Second)
		defer loadAll(all, 2)()
		pass(30 * time.Second)
		all[7].silence(true)
		pass(7 * time.Second)
		if a := r.averages(rev1); !a.Partial || !a.Sampled || !near(a.Panic, 180, 4) {
			r.Fatalf("one is silent: %+v", a)
		}
		all[7].silence(false)
		pass(10 * time.Second)
		if a := r.averages(rev1); a.Partial || !near(a.Panic, 180, 0.001) {
			r.Fatalf("it answers again: %+v", a)
		}
	})
}

// A stopping instance does not rest: it will end soon.
func TestTurns_StoppingDoesNotWait(t *testing.T) {
	scraping(t, func(r rig) {
		ids, all := r.crowd(90)
		r.follow(ids...)
		pass(time.Second)
		defer loadAll(all, 2)()
		pass(20*time.Second + 50*time.Millisecond)
		before := make([]int, 45)
		srcs := sources(ids...)
		for i := range before {
			before[i] = all[i].requests("/v1/stats")
			srcs[i].Stopping = true
		}
		r.followSources(srcs)
		pass(50 * time.Millisecond)
		for i, n := range before {
			if all[i].requests("/v1/stats") == n {
				r.Errorf("i%d was not asked", i)
			}
		}
		pass(5 * time.Second)
		for i, n := range before {
			if n = all[i].requests("/v1/stats") - n; n < 5 {
				r.Errorf("i%d was asked %d times in 5s", i, n)
			}
			all[i].stop()
		}
		pass(20 * time.Second)
		if a := r.averages(rev1); a.Partial || !near(a.Panic, 90, 0.001) {
			r.Errorf("after half of them stopped: %+v", a)
		}
	})
}

// A longer window is filled at once, not at the next turns.
func TestTurns_WindowGrows(t *testing.T) {
	scraping(t, func(r rig) {
		ids, all := r.crowd(60)
		born := time.Now()
		r.s.Set([]scrape.Revision{{ID: rev1, Created: born, Window: time.Minute}}, sources(ids...))
		pass(time.Second)
		defer loadAll(all, 2)()
		pass(100 * time.Second)
		r.s.Set([]scrape.Revision{{ID: rev1, Created: born, Window: 90 * time.Second}}, sources(ids...))
		pass(time.Second)
		r.s.Read(rev1, func(got scrape.Reading) {
			a := got.Windows.Averages(got.Now, 90*time.Second, 9*time.Second, wadi.Concurrency)
			if a.Partial || !near(a.Stable, 120, 1) {
				r.Fatalf("%+v", a)
			}
		})
	})
}
