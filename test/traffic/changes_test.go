//go:build e2e

package traffic_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Callers notice neither a new revision, nor one that never gets ready, nor the way back.
func TestChanges_NewBadAndBack(t *testing.T) {
	t.Parallel()
	const name, one, two, three = "moved", "moved-00001", "moved-00002", "moved-00003"
	deploy(t, version(name, "1"))
	l := startLoad(t, 50*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, one, 20)

	stack.Deploy(t, version(name, "2"))
	l.waitAll(t, two, 20)

	began := time.Now()
	stack.Submit(t, versionWith(name, map[string]string{"FAIL_START": "1"}, `window = "1h"`, "timeout {\n    progress = \"15s\"\n  }"))
	waitStatus(t, name, func(st wadi.Status) error {
		if !slices.ContainsFunc(st.Revisions, func(r wadi.RevisionStatus) bool { return r.ID == three && r.Phase == wadi.Failed }) {
			return fmt.Errorf("got revisions %+v, want %s failed", st.Revisions, three)
		}
		return nil
	})
	l.waitAll(t, two, 20)
	for revision, n := range l.since(began, "") {
		if revision != two {
			t.Errorf("%d answers of %s while %s failed", n, revision, three)
		}
	}

	// The newest is meant first, which was to take over; what serves keeps the traffic.
	rollBack(t, name, "", three, two)
	l.waitAll(t, two, 20)
	rollBack(t, name, one, two, one)
	l.waitAll(t, one, 20)
	l.wantAll(t, 60)
}

// rollBack rolls a service back, to the revision that follows if none is named.
func rollBack(t *testing.T, name, to, wantFrom, wantTo string) {
	t.Helper()
	set, err := stack.Agent.Client.Rollback(t.Context(), name, api.Rollback{To: to})
	harnesstest.Must(t, "roll back", err)
	if set.From != wantFrom || set.To != wantTo {
		t.Errorf("rolled back from %s to %s, want from %s to %s", set.From, set.To, wantFrom, wantTo)
	}
}

// waitStatus waits until a service's status is as wanted.
func waitStatus(t *testing.T, name string, is func(wadi.Status) error) {
	t.Helper()
	waitStatusAt(t, stack.Agent, name, is)
}

// waitStatusAt is waitStatus by another agent than the first.
func waitStatusAt(t *testing.T, a *harness.Agent, name string, is func(wadi.Status) error) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		s, err := a.Client.Service(t.Context(), name)
		if err != nil {
			return err
		}
		return is(s.Status)
	})
}

// The whole traffic is moved from one revision to another and back, twenty times in ten
// seconds, as by `wadi traffic`. No request fails, the last change holds, and the log has how soon
// each was in force.
func TestChanges_TwentyInTenSeconds(t *testing.T) {
	t.Parallel()
	const name, one, two, changes = "weighed", "weighed-00001", "weighed-00002", 20
	deploy(t, version(name, "1"))
	stack.Deploy(t, version(name, "2", "100 "+one, "0 "+two+" next"))
	harnesstest.WantStatus(t, stack.Get(t, "next-"+name, "/"), 200) // It runs.
	l := startLoad(t, 25*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, one, 40)

	before, cpu := time.Now(), cpuOf(t, stack.Agent.PID())
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var moves []move
	for i := range changes {
		m := move{from: one, to: two, ordered: time.Now()}
		if i%2 == 1 {
			m.from, m.to = two, one
		}
		whole, none := 100.0, 0.0
		_, err := stack.Agent.Client.SetTraffic(t.Context(), name, api.Traffic{Targets: []api.Target{
			{Revision: m.to, Percent: &whole}, {Revision: m.from, Percent: &none, Tag: "next"},
		}})
		harnesstest.Must(t, "set traffic", err)
		moves = append(moves, m)
		<-tick.C
	}
	after := time.Now()
	t.Logf("the agent used %v of CPU in %v", cpuOf(t, stack.Agent.PID())-cpu, after.Sub(before).Round(time.Millisecond))
	l.waitAll(t, one, 40)
	l.wantAll(t, 200)
	for _, way := range l.ways {
		t.Logf("through %s: %s; latency before %s, during the changes %s", way, l.howSoon(moves, way),
			l.latency(way, before.Add(-time.Minute), before), l.latency(way, before, after))
	}
}

// move is a change of the whole traffic.
type move struct {
	from, to string
	ordered  time.Time
}

// howSoon says when moves were in force by a way: how long after the order the last request
// began that the revision before has answered, and how many such requests there were.
func (l *load) howSoon(moves []move, way string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lags []time.Duration
	stale, seen := 0, 0
	for i, m := range moves {
		until := m.ordered.Add(500 * time.Millisecond)
		if i+1 < len(moves) {
			until = moves[i+1].ordered
		}
		var last time.Duration
		old, fresh := 0, false
		for _, a := range l.answers {
			if a.way != way || a.began.Before(m.ordered) || !a.began.Before(until) {
				continue
			}
			if a.revision == m.from {
				old, last = old+1, max(last, a.began.Sub(m.ordered))
			}
			fresh = fresh || a.revision == m.to
		}
		if stale += old; fresh {
			seen, lags = seen+1, append(lags, last)
		}
	}
	slices.Sort(lags)
	if len(lags) == 0 {
		return "no change was seen before the next"
	}
	return fmt.Sprintf("%d of %d changes were seen before the next, in force after %v at half and %v at most, %d requests by the shares before",
		seen, len(moves), lags[len(lags)/2].Round(time.Millisecond), lags[len(lags)-1].Round(time.Millisecond), stale)
}

// latency is the median and the 99th percentile of requests that began within a time.
func (l *load) latency(way string, from, to time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var took []time.Duration
	for _, a := range l.answers {
		if a.way == way && !a.began.Before(from) && a.began.Before(to) {
			took = append(took, a.took)
		}
	}
	if len(took) == 0 {
		return "unknown"
	}
	slices.Sort(took)
	return fmt.Sprintf("p50 %v, p99 %v", took[len(took)/2].Round(100*time.Microsecond), took[len(took)*99/100].Round(100*time.Microsecond))
}

// Of two applies at once each is taken, one after the other, or refused because of the other.
// The later one serves, and callers notice nothing.
func TestChanges_TwoAppliesAtOnce(t *testing.T) {
	t.Parallel()
	const name = "twice"
	deploy(t, version(name, "1"))
	l := startLoad(t, 50*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, name+"-00001", 20)
	type outcome struct {
		sub api.Submitted
		err error
	}
	outcomes := make(chan outcome, 2)
	for _, v := range []string{"2", "3"} {
		go func() {
			sub, err := stack.Agent.Submit(t.Context(), version(name, v))
			outcomes <- outcome{sub, err}
		}()
	}
	var last api.SubmittedService
	for range 2 {
		o := <-outcomes
		switch {
		case errors.Is(o.err, wadi.ErrConflict):
			t.Logf("one was refused: %v", o.err)
		case o.err != nil:
			t.Errorf("apply: %v", o.err)
		case o.sub.Services[0].Generation == last.Generation:
			t.Errorf("both are generation %d", last.Generation)
		case o.sub.Services[0].Generation > last.Generation:
			last = o.sub.Services[0]
		}
	}
	if last.Revision == "" {
		t.Fatal("none was taken")
	}
	l.waitAll(t, last.Revision, 20)
	l.wantAll(t, 60)
}

// cpuOf is the CPU time that a process has used.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	used, err := harness.CPUTime(pid)
	harnesstest.Must(t, "read the CPU time", err)
	return used
}
