//go:build e2e

// Package scaling_test proves the autoscaler on a real Nomad: counts follow the load,
// bounds, schedules and overrides, and say why.
//
// All tests share one cluster; each has a service of its own, in host networks and
// with the shortest window.
package scaling_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack is shared by all tests.
var stack *harnesstest.Stack

func TestMain(m *testing.M) {
	harnesstest.Main(m, &stack, harnesstest.Options{Parallel: 6, Stack: harness.Options{MaxKillTimeout: maxKillTimeout}})
}

// maxKillTimeout is how long Nomad's client lets an instance drain: far less than what a
// service asks for, as Nomad's default of 30 s is on most clusters.
const maxKillTimeout = 5 * time.Second

// hello renders a service of the example app with a scale block of the shortest window.
func hello(name, scale string) string {
	return harnesstest.Hello(name, "window = \"6s\"\n    "+scale, "")
}

// perInstance is a target of concurrent requests that instances carry in full.
func perInstance(n int) string {
	return fmt.Sprintf("metric \"concurrency\" {\n      target      = %d\n      utilization = 1\n    }\n    ", n)
}

// load always has n requests in flight, each for so long.
func load(t *testing.T, service string, n int, each time.Duration) *harnesstest.Load {
	t.Helper()
	return harnesstest.StartWorkers(t, n, 0, harnesstest.Getting(stack.Client(t), harnesstest.URL(service, "/?sleep="+each.String())))
}

// wantAnswered ends a load; 99.9 % of it must be answered.
func wantAnswered(t *testing.T, l *harnesstest.Load) {
	t.Helper()
	l.Stop()
	if good, failed := l.Count(); failed*1000 > good+failed || good == 0 {
		t.Errorf("got %v, want 99.9 %% answered", l)
	}
}

func revision(service string) string { return wadi.RevisionID(service, 1) }

func waitCount(t *testing.T, service string, n int) {
	t.Helper()
	err := stack.WaitCount(t.Context(), revision(service), harnesstest.WaitLong, func(got int) bool { return got == n })
	if err != nil {
		t.Fatalf("%s: %v; want %d\n%s", service, err, n, why(t, service))
	}
}

// wantCount expects a count to stay as it is for a while.
func wantCount(t *testing.T, service string, n int, during time.Duration) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		got, err := stack.Count(t.Context(), revision(service))
		if err != nil || got != n {
			t.Fatalf("%s: got count %d (%v), want it to stay %d\n%s", service, got, err, n, why(t, service))
		}
	}
}

func decisions(t *testing.T, service string) []wadi.Decision {
	t.Helper()
	all, err := stack.Agent.Client.Decisions(t.Context(), service)
	harnesstest.Must(t, "read decisions", err)
	return all
}

// why is the leader's explanation of its latest decisions.
func why(t *testing.T, service string) string {
	t.Helper()
	var b strings.Builder
	for _, d := range decisions(t, service) {
		fmt.Fprintf(&b, "%s ×%d ready %d+%d count %d→%d %s: %s %s\n",
			d.Time.Format("15:04:05.000"), d.Times, d.Ready, d.Starting, d.Count, d.Desired, d.Rule, d.Reason, d.WhyNot)
	}
	return b.String()
}

// waitDecision waits for a decision that satisfies is.
func waitDecision(t *testing.T, service, what string, is func(wadi.Decision) bool) wadi.Decision {
	t.Helper()
	var found wadi.Decision
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		all := decisions(t, service)
		i := slices.IndexFunc(all, is)
		if i < 0 {
			return fmt.Errorf("no decision %s:\n%s", what, why(t, service))
		}
		found = all[i]
		return nil
	})
	return found
}
