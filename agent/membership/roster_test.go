package membership

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/consul"
)

// listed is an agent as Consul lists it.
func listed(name, boot string, passing bool) consul.Instance {
	r := consul.AgentRegistration(name, "", 0, map[string]string{consul.MetaMetrics: name + ":4748", consul.MetaBoot: boot})
	return consul.Instance{ID: r.ID, Meta: r.Meta, Passing: passing}
}

func TestRoster(t *testing.T) {
	now := time.Now()
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	source := func(name string, stopping bool, seen time.Time) control.Source {
		return control.Source{ID: name, Kind: wadi.SourceActivator, Addr: name + ":4748", Stopping: stopping, Seen: seen}
	}
	r := roster{name: "me", boot: "b1"}
	want := func(second int, want ...control.Source) {
		t.Helper()
		if diff := cmp.Diff(want, r.sources("me:4748", at(second))); diff != "" {
			t.Errorf("at %d (-want +got):\n%s", second, diff)
		}
	}
	want(0, source("me", false, time.Time{}))

	r.note([]consul.Instance{listed("dead", "b", false), listed("one", "b", true), listed("two", "b", true)}, at(1))
	want(1, source("dead", true, at(1)), source("me", false, time.Time{}), source("one", false, at(1)), source("two", false, at(1)))

	// Some agents leave, in either way, and this one too.
	r.note([]consul.Instance{listed("dead", "b", false), listed("me", "b1", true), listed("one", "b", true), listed("two", "b", true)}, at(2))
	r.note([]consul.Instance{listed("dead", "b", false), listed("one", "b", false)}, at(10))
	want(11, source("dead", true, at(1)), source("me", false, at(2)), source("one", true, at(1)), source("two", true, at(1)))

	// An agent comes back as another process: it was there before.
	r.note([]consul.Instance{listed("dead", "b", false), listed("one", "b", false), listed("two", "b2", true)}, at(20))
	want(20, source("dead", true, at(1)), source("me", false, at(2)), source("one", true, at(1)), source("two", false, at(1)))

	// Agents that left are forgotten after a while.
	want(1+3661, source("me", false, at(2)), source("one", true, at(1)), source("two", false, at(1)))
	want(10+3661, source("me", false, at(2)), source("two", false, at(1)))

	// Consul lists an agent of a lost node for days, which is no news.
	for _, second := range []int{3700, 3800, 7500, 7600} {
		r.note([]consul.Instance{listed("dead", "b", false), listed("two", "b2", true)}, at(second))
		want(second, source("me", false, at(2)), source("two", false, at(1)))
	}
	r.note([]consul.Instance{listed("dead", "b2", true)}, at(7700))
	if got := r.sources("me:4748", at(7700))[0]; got.ID != "dead" || got.Stopping {
		t.Errorf("it is back: %+v", got)
	}
}

// A registration with the same name on a lost node says nothing about an agent.
func TestRoster_TwoOfOneName(t *testing.T) {
	r, now := roster{name: "me"}, time.Now()
	here, gone := listed("one", "b2", true), listed("one", "b1", false)
	gone.Meta[consul.MetaMetrics] = "gone:4748"
	for _, all := range [][]consul.Instance{{here, gone}, {gone, here}} {
		r.note(all, now)
		if got := r.sources("me:4748", now)[1]; got.Stopping || got.Addr != "one:4748" {
			t.Errorf("%+v", got)
		}
	}
}

// An agent that finds a registration of its own from an earlier run died before.
func TestRoster_OfAnEarlierRun(t *testing.T) {
	r, now := roster{name: "me", boot: "b2"}, time.Now()
	r.note([]consul.Instance{listed("me", "b1", false)}, now)
	r.note([]consul.Instance{listed("me", "b2", true)}, now.Add(time.Second))
	if got := r.sources("me:4748", now)[0].Seen; now.Sub(got) < time.Hour {
		t.Errorf("seen %v before", now.Sub(got))
	}
}

func TestRoster_IsBounded(t *testing.T) {
	r, now := roster{name: "me"}, time.Now()
	for i := range 3 * rosterMax {
		r.note([]consul.Instance{listed(fmt.Sprintf("n%d", i), "b", true)}, now.Add(time.Duration(i)*time.Millisecond))
	}
	all := r.sources("me:4748", now.Add(time.Minute))
	if len(all) > rosterMax+2 {
		t.Errorf("%d are remembered", len(all))
	}
	for _, s := range all {
		if s.ID == "n0" {
			t.Error("the oldest is remembered")
		}
	}
}
