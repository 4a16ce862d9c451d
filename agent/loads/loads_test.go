package loads_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/loads"
)

// world is a meter whose load follows a rule, and a store.
type world struct {
	mu      sync.Mutex
	load    func(revision string, second int64) (concurrency, begun float64)
	names   []string
	stored  map[string]wadi.LoadHistory
	writes  []string
	down    error
	most    int64 // Most seconds that were asked for at once.
	oldest  int64 // How old the oldest second was that was asked for.
	blocked bool  // Writes wait until they are cancelled.
}

func (w *world) Seconds(revision string, from, to int64, add func(int64, float64, float64)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.most, w.oldest = max(w.most, to-from), max(w.oldest, time.Now().Unix()-from)
	for s := from; s < to; s++ {
		if c, b := w.load(revision, s); c > 0 || b > 0 {
			add(s, c, b)
		}
	}
}

func (w *world) UpdateLoadHistory(ctx context.Context, service string, change func(wadi.LoadHistory) wadi.LoadHistory) error {
	w.mu.Lock()
	blocked := w.blocked
	w.mu.Unlock()
	if blocked {
		<-ctx.Done()
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		return w.down
	}
	w.writes = append(w.writes, service)
	w.stored[service] = change(w.stored[service])
	return nil
}

func (w *world) services() (all []loads.Service) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.names {
		all = append(all, loads.Service{Name: n, Revisions: []string{n + "-00001", n + "-00002"}})
	}
	return all
}

// set changes the world.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) writesOf() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.writes)
}

func (w *world) history(name string) wadi.LoadHistory {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stored[name]
}

func newWorld(names ...string) *world {
	return &world{names: names, stored: map[string]wadi.LoadHistory{}, load: func(string, int64) (float64, float64) { return 0, 0 }}
}

// record runs a recorder until the returned function is called.
func (w *world) record(t *testing.T) (r *loads.Recorder, stop func()) {
	t.Helper()
	r = &loads.Recorder{Services: w.services, Meter: w, Store: w, Log: hclog.NewNullLogger()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return r, func() { cancel(); <-done }
}

// total is what of each known minute there is.
func total(h wadi.LoadHistory) (requests float64, unknown int) {
	for _, r := range h.Requests {
		if r < 0 {
			unknown++
		} else {
			requests += r
		}
	}
	return requests, unknown
}

// Each minute has the average, the peaks and the number of its requests, over all revisions.
func TestRecorder_Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.load = func(revision string, second int64) (float64, float64) {
			if revision == "a-00002" && second%60 == 7 {
				return 30, 4
			}
			return 1, 2
		}
		r, stop := w.record(t)
		time.Sleep(5*time.Minute + 10*time.Second)
		h := r.Add("a", w.history("a"))
		if !h.Known() || h.Minutes() < 5 {
			t.Fatalf("%+v", h)
		}
		for i := 1; i < h.Minutes()-1; i++ {
			got := []float64{h.Concurrency[i], h.Peak[i], h.Requests[i], h.PeakRate[i]}
			if d := cmp.Diff([]float64{2.483, 31, 242, 6}, got); d != "" {
				t.Errorf("minute %d (-want +got):\n%s", i, d)
			}
		}
		stop()
		if d := cmp.Diff(h.Requests[:5], w.history("a").Requests[:5]); d != "" {
			t.Errorf("stored differs (-known +stored):\n%s", d)
		}
	})
}

// A service with load is written at its first minute and then every ten, one without every
// hour.
func TestRecorder_WritesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("busy")
		w.load = func(string, int64) (float64, float64) { return 1, 1 }
		_, stop := w.record(t)
		time.Sleep(90 * time.Second)
		if n := w.writesOf(); n != 1 {
			t.Errorf("%d writes after the first minute", n)
		}
		time.Sleep(2 * time.Hour)
		if n := w.writesOf(); n < 12 || n > 13 {
			t.Errorf("%d writes in two hours of load", n)
		}
		if requests, unknown := total(w.history("busy")); requests < 2*6600 || unknown > 0 {
			t.Errorf("%v requests, %d minutes are not known", requests, unknown)
		}
		stop()

		w = newWorld("idle", "idler", "idlest")
		_, stop = w.record(t)
		time.Sleep(4 * time.Hour)
		if n := w.writesOf(); n < 3*3 || n > 3*5 {
			t.Errorf("%d writes of three idle services in four hours", n)
		}
		before := w.writesOf()
		stop()
		if n := w.writesOf(); n != before {
			t.Error("idle services are written at the end of a term")
		}
	})
}

// The next leader goes on where the last one ended, and what no leader saw is not known.
func TestRecorder_NextLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.load = func(string, int64) (float64, float64) { return 1, 1 }
		_, stop := w.record(t)
		time.Sleep(3 * time.Minute)
		stop()
		first, _ := total(w.history("a"))
		if first < 2*160 {
			t.Fatalf("%v requests of three minutes are stored at the end of the term", first)
		}
		time.Sleep(20 * time.Minute)
		r, stop := w.record(t)
		time.Sleep(3 * time.Minute)
		h := r.Add("a", w.history("a"))
		requests, unknown := total(h)
		if unknown < 18 || unknown > 20 || requests < 2*first-2*60 || h.Minutes() < 25 || h.Minutes() > 28 {
			t.Errorf("%v requests in %d minutes, %d not known", requests, h.Minutes(), unknown)
		}
		stop()
	})
}

// What could not be stored is stored later; for as long as a day it is all remembered, and
// not longer.
func TestRecorder_StoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.load = func(string, int64) (float64, float64) { return 1, 1 }
		w.down = errors.New("away")
		r, stop := w.record(t)
		time.Sleep(30 * time.Hour)
		if h := r.Add("a", wadi.LoadHistory{}); h.Minutes() != wadi.MaxLoadMinutes || !h.Known() {
			t.Errorf("%d minutes are remembered", h.Minutes())
		}
		w.set(func() { w.down = nil })
		time.Sleep(2 * time.Minute)
		h := w.history("a")
		if requests, unknown := total(h); h.Minutes() != wadi.MaxLoadMinutes || unknown > 0 || requests < 2*60*(wadi.MaxLoadMinutes-1) {
			t.Errorf("%d minutes with %v requests are stored, %d not known", h.Minutes(), requests, unknown)
		}
		stop()
	})
}

// A store that hangs delays the end of a term by a second at most.
func TestRecorder_EndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 200 {
			names = append(names, fmt.Sprintf("s%d", i))
		}
		w := newWorld(names...)
		w.load = func(string, int64) (float64, float64) { return 1, 1 }
		_, stop := w.record(t)
		time.Sleep(30 * time.Second)
		w.set(func() { w.blocked = true })
		began := time.Now()
		stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// Deleted services are forgotten. A paused process reads no more than there is, and does not
// take the time in between for one without load.
func TestRecorder_GoneAndPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		w.load = func(string, int64) (float64, float64) { return 1, 1 }
		r := &loads.Recorder{Services: w.services, Meter: w, Store: w, Log: hclog.NewNullLogger()}
		for range 30 {
			time.Sleep(5 * time.Second)
			r.Read(time.Now())
		}
		w.set(func() { w.names = []string{"a"} })
		time.Sleep(time.Hour)
		r.Read(time.Now())
		if h := r.Add("b", wadi.LoadHistory{}); h.Minutes() != 0 {
			t.Errorf("a deleted service has %d minutes", h.Minutes())
		}
		if w.most > 10 || w.oldest > 20 {
			t.Errorf("%d seconds were asked for at once, one of %d seconds ago", w.most, w.oldest)
		}
		if h := r.Add("a", wadi.LoadHistory{}); h.Minutes() > 2 {
			t.Errorf("a paused recorder knows %d minutes", h.Minutes())
		}
	})
}

// A clock that is set back: the seconds that come a second time are not counted twice, and
// after a clock that was far ahead the load is kept on, by the right time.
func TestRecorder_ClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.load = func(string, int64) (float64, float64) { return 1, 1 }
		r := &loads.Recorder{Services: w.services, Meter: w, Store: w, Log: hclog.NewNullLogger()}
		read := func(ahead time.Duration, times int) wadi.LoadHistory {
			for range times {
				time.Sleep(5 * time.Second)
				r.Read(time.Now().Add(ahead))
			}
			return r.Add("a", wadi.LoadHistory{})
		}
		if requests, _ := total(read(30*time.Second, 1)); requests > 2*10 {
			t.Fatalf("%v requests of ten seconds", requests)
		}
		if requests, _ := total(read(0, 12)); requests > 2*(10+30) {
			t.Errorf("%v requests of 40 seconds: some are counted twice", requests)
		}
		read(25*time.Hour, 12)
		h := read(0, 36)
		if requests, _ := total(h); h.End() > time.Now().Unix()+60 || requests < 2*160 || requests > 2*190 {
			t.Errorf("after a clock that was a day ahead: %v requests of three minutes, until %d: %+v", requests, h.End()-time.Now().Unix(), h)
		}
	})
}
