package outcomes_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/outcomes"
)

const rev1, rev2 = "hello-00001", "hello-00002"

var t0 = time.Unix(1_800_000_000, 0)

func after(d time.Duration) time.Time { return t0.Add(d) }

// ok is n requests that were answered with 200 in 20 ms.
func ok(n uint64) *wadi.Outcomes {
	o := &wadi.Outcomes{}
	if n > 0 {
		o.Codes = map[string]uint64{"200": n}
		o.Latency = make(wadi.Latencies, wadi.NumLatencyBuckets)
		o.Latency[wadi.LatencyBucket(20*time.Millisecond)] = n
	}
	return o
}

// report is the answer of an instance of rev1 that booted at a time.
func report(k *outcomes.Keeper, id, boot string, booted, at time.Duration, o *wadi.Outcomes) {
	k.Report(id, rev1, []wadi.Stats{{Boot: boot, Revision: rev1, Now: int64((at - booted) / time.Second), Outcomes: o}}, after(at))
}

func requests(k *outcomes.Keeper, since time.Duration) (uint64, bool) {
	o, whole := k.Since(rev1, after(since))
	return o.Requests(), whole
}

func want(t *testing.T, k *outcomes.Keeper, since time.Duration, n uint64, whole bool) {
	t.Helper()
	if got, w := requests(k, since); got != n || w != whole {
		t.Errorf("since %v: %d requests, whole %v; want %d, %v", since, got, w, n, whole)
	}
}

// Counters that go on, begin anew, or come back after a silence are counted once each.
func TestKeeper_EachRequestOnce(t *testing.T) {
	k := outcomes.New(t0)
	report(k, "i1", "b1", 10*time.Second, 20*time.Second, ok(5))
	report(k, "i1", "b1", 10*time.Second, 30*time.Second, ok(12))
	report(k, "i1", "b1", 10*time.Second, 31*time.Second, ok(12)) // Nothing new.
	report(k, "i1", "b2", 40*time.Second, 45*time.Second, ok(3))  // Restarted.
	report(k, "i2", "b1", 50*time.Second, 60*time.Second, ok(100))
	want(t, k, 0, 5+7+3+100, true)
	want(t, k, 25*time.Second, 7+3+100, true)
	want(t, k, 50*time.Second, 100, true)

	k.Gone("i2", after(65*time.Second))
	report(k, "i2", "b1", 50*time.Second, 10*time.Minute, ok(101))
	want(t, k, 50*time.Second, 101, true)
}

// What a source counted before this term began is not known, and not counted.
func TestKeeper_NewLeader(t *testing.T) {
	k := outcomes.New(t0)
	report(k, "old", "b1", -time.Hour, 2*time.Second, ok(5000))
	report(k, "idle", "b1", -time.Hour, 2*time.Second, ok(0))
	want(t, k, -time.Minute, 0, false)
	want(t, k, -time.Second, 0, true) // A rollout goes on being judged since the begin of the term.
	report(k, "old", "b1", -time.Hour, 20*time.Second, ok(5010))
	report(k, "idle", "b1", -time.Hour, 20*time.Second, ok(7))
	want(t, k, 5*time.Second, 17, true)
	if r := k.Read(rev1, after(-time.Hour), after(time.Minute)); !r.From.Equal(after(0)) || r.Unknown == "" {
		t.Errorf("%+v", r)
	}
	if !k.Began().Equal(t0) {
		t.Errorf("began at %v", k.Began())
	}
}

// An activator that ran before this term, and then answers in place of a new revision.
func TestKeeper_Activators(t *testing.T) {
	k := outcomes.New(t0)
	lines := func(at time.Duration, n map[string]uint64) {
		stats := []wadi.Stats{{Boot: "b1", Now: 90000 + int64(at/time.Second), Outcomes: &wadi.Outcomes{}}}
		for rev, n := range n {
			stats = append(stats, wadi.Stats{Boot: "b1", Revision: rev, Now: stats[0].Now, Outcomes: &wadi.Outcomes{Codes: map[string]uint64{"503": n}, ColdStarts: 1}})
		}
		k.Report("agent1", "", stats, after(at))
	}
	lines(time.Second, map[string]uint64{rev1: 40})
	lines(20*time.Second, map[string]uint64{rev1: 40, rev2: 3})
	o, whole := k.Since(rev2, after(10*time.Second))
	if d := cmp.Diff(wadi.Outcomes{Codes: map[string]uint64{"503": 3}, ColdStarts: 1}, o); d != "" || !whole {
		t.Errorf("whole %v (-want +got):\n%s", whole, d)
	}
	if o, _ := k.Since(rev1, after(10*time.Second)); !o.IsZero() {
		t.Errorf("of what was before: %+v", o)
	}
}

// Requests of a revision that an activator forgot, as its service was deleted, and serves
// again are counted.
func TestKeeper_ActivatorsBeginAnew(t *testing.T) {
	k := outcomes.New(t0)
	answer := func(at time.Duration, cold map[string]uint64) {
		stats := []wadi.Stats{{Boot: "b1", Now: 90000 + int64(at/time.Second), Outcomes: &wadi.Outcomes{}}}
		for rev, n := range cold {
			stats = append(stats, wadi.Stats{Boot: "b1", Revision: rev, Now: 90000 + int64(at/time.Second), Outcomes: &wadi.Outcomes{ColdStarts: n}})
		}
		k.Report("agent1", "", stats, after(at))
	}
	answer(time.Second, nil)
	answer(20*time.Second, map[string]uint64{rev1: 1})
	answer(30*time.Second, map[string]uint64{rev1: 3})
	answer(40*time.Second, map[string]uint64{rev2: 1}) // It has forgotten rev1.
	answer(50*time.Second, map[string]uint64{rev1: 3, rev2: 1})
	answer(60*time.Second, map[string]uint64{rev1: 2, rev2: 1}) // It has forgotten it since.
	answer(70*time.Second, nil)
	answer(80*time.Second, map[string]uint64{rev1: 1})
	if o, whole := k.Since(rev1, after(5*time.Second)); o.ColdStarts != 3+3+2+1 || !whole {
		t.Errorf("%+v, whole %v", o, whole)
	}
}

// What is not known is told apart from what did not happen.
func TestKeeper_Unknown(t *testing.T) {
	k := outcomes.New(t0)
	silent := ""
	k.Silent = func(revision string) string { return map[string]string{rev1: silent}[revision] }
	want(t, k, time.Second, 0, true)
	report(k, "i1", "b1", 0, 5*time.Second, nil)
	want(t, k, time.Second, 0, false)
	if r := k.Read(rev1, after(time.Second), after(time.Minute)); r.Unknown != "" || r.Unreported != "i1 is of an older Wadi and does not report outcomes" {
		t.Errorf("%+v", r)
	}
	if _, whole := k.Since(rev2, after(time.Second)); !whole {
		t.Error("another revision is not known either")
	}
	k.Gone("i1", after(time.Minute))
	want(t, k, time.Second, 0, true)
	silent = "i2"
	want(t, k, time.Second, 0, false)
	if r := k.Read(rev1, after(time.Second), after(time.Minute)); r.Unknown != "i2 does not answer" {
		t.Errorf("%+v", r)
	}
}

// A day is kept in steps that grow with their age: whatever is asked for, nothing of before
// is in it, and little is missing.
func TestKeeper_StepsGrowWithTheirAge(t *testing.T) {
	k := outcomes.New(t0)
	n, end := uint64(0), 26*time.Hour
	for at := 2 * time.Second; at <= end; at += 2 * time.Second {
		n++
		report(k, "i1", "b1", 0, at, ok(n))
	}
	for _, age := range []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, time.Hour, 5 * time.Hour, 23 * time.Hour} {
		got, whole := requests(k, end-age)
		exact := uint64(age/(2*time.Second)) + 1
		if !whole || got > exact || float64(got) < 0.8*float64(exact)-3 {
			t.Errorf("of the last %v: %d, want up to %d; whole %v", age, got, exact, whole)
		}
	}
	if got, whole := requests(k, 0); whole || got < 23*1800 || got > 25*1800 {
		t.Errorf("since the begin: %d, whole %v", got, whole)
	}
	k.Set(map[string]int{rev1: 1}, after(end+25*time.Hour))
	if got, whole := requests(k, end+time.Hour); got != 0 || !whole {
		t.Errorf("a day later: %d, %v", got, whole)
	}
}

// With very many revisions each keeps its share of the memory, the latest first.
func TestKeeper_Bounded(t *testing.T) {
	k := outcomes.New(t0)
	k.MaxBytes = 200_000
	var last time.Duration
	for step := range 200 {
		last = time.Duration(step+1) * 5 * time.Second
		for i := range 100 {
			id := fmt.Sprintf("s%d-00001", i)
			k.Report(id, id, []wadi.Stats{{Boot: "b", Revision: id, Now: int64(last / time.Second), Outcomes: ok(uint64(step + 1))}}, after(last))
		}
	}
	o, whole := k.Since("s7-00001", after(last-30*time.Second))
	if o.Requests() != 6 && o.Requests() != 7 || !whole {
		t.Errorf("of the last half minute: %d, whole %v", o.Requests(), whole)
	}
	if o, whole := k.Since("s7-00001", after(0)); whole || o.Requests() > 80 {
		t.Errorf("%d are kept, whole %v", o.Requests(), whole)
	}
}

// A revision that is deleted leaves nothing, and one of the same name begins anew.
func TestKeeper_Deleted(t *testing.T) {
	k := outcomes.New(t0)
	k.Set(map[string]int{rev1: 1}, after(0))
	report(k, "i1", "b1", 0, 5*time.Second, ok(5))
	k.Set(map[string]int{rev2: 1}, after(10*time.Second))
	want(t, k, 0, 0, true)
}

func TestKeeper_InstanceSeconds(t *testing.T) {
	k := outcomes.New(t0)
	for at, n := range []int{0, 2, 2, 0, 1} { // Every ten seconds.
		k.Set(map[string]int{rev1: n}, after(time.Duration(at)*10*time.Second))
	}
	for since, seconds := range map[time.Duration]float64{0: 2*20 + 20, 20 * time.Second: 2*10 + 20, 30 * time.Second: 20, 55 * time.Second: 5} {
		if got := k.Read(rev1, after(since), after(time.Minute)).InstanceSeconds; got != seconds {
			t.Errorf("since %v: %v instance-seconds, want %v", since, got, seconds)
		}
	}
	for i := range 10_000 {
		k.Set(map[string]int{rev1: i % 2}, after(time.Minute+time.Duration(i)*time.Second))
	}
	now := after(time.Minute + 10_000*time.Second)
	if got := k.Read(rev1, now.Add(-100*time.Second), now).InstanceSeconds; got != 50 {
		t.Errorf("of the last 100 s: %v", got)
	}
}
