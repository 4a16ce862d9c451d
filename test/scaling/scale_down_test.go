//go:build e2e

package scaling_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// longCall takes much longer than Nomad's client lets an instance drain.
const longCall = 4 * maxKillTimeout

// waitsForRequests reports whether a decision is blocked by requests in flight.
func waitsForRequests(d wadi.Decision) bool { return strings.Contains(d.WhyNot, "in flight") }

func override(t *testing.T, service string, n int) {
	t.Helper()
	_, err := stack.Agent.Client.Override(t.Context(), service, "", n, time.Hour)
	harnesstest.Must(t, "override", err)
}

// instancesOf are the revision's running allocations, with the addresses of their
// statistics.
func instancesOf(t *testing.T, service string) map[string]string {
	t.Helper()
	allocs, err := stack.Allocs(t.Context(), revision(service))
	harnesstest.Must(t, "read allocations", err)
	metrics := map[string]string{}
	for _, stub := range allocs {
		a, _, err := stack.Nomad.Allocations().Info(stub.ID, nil)
		harnesstest.Must(t, "read an allocation", err)
		for _, p := range a.AllocatedResources.Shared.Ports {
			if p.Label == wadi.PortMetrics {
				metrics[a.ID] = net.JoinHostPort(p.HostIP, strconv.Itoa(p.Value))
			}
		}
	}
	return metrics
}

// begunAt is how many requests have begun in each instance's app.
func begunAt(t *testing.T, service string) (begun map[string]float64, sum float64) {
	t.Helper()
	begun = map[string]float64{}
	for id, addr := range instancesOf(t, service) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
		harnesstest.Must(t, "ask an instance", err)
		res, err := harness.Do(http.DefaultClient, req)
		harnesstest.Must(t, "read an instance's metrics", err)
		for line := range strings.Lines(res.Body) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if name == "wadi_queue_in_flight_requests" || name == `wadi_queue_requests_total{class="2xx"}` {
				n, err := strconv.ParseFloat(value, 64)
				harnesstest.Must(t, "read "+line, err)
				begun[id] += n
			}
		}
		sum += begun[id]
	}
	return begun, sum
}

// An instance is stopped only when it has no request in flight: no call is cut, and none
// runs a second time elsewhere.
func TestScaleDown_LongCallsAreNotCut(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("scaledown", "max = 5"))
	override(t, "scaledown", 2)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return usesAll(t, "scaledown", 2) })
	before, had := begunAt(t, "scaledown")
	client, ends := stack.Client(t), make(chan error, 4)
	url := harnesstest.URL("scaledown", "/?sleep="+longCall.String())
	for range 4 {
		go func() { ends <- harnesstest.PostOnce(t.Context(), client, url, harnesstest.WaitLong) }()
	}
	var begun map[string]float64
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		var sum float64
		if begun, sum = begunAt(t, "scaledown"); sum != had+4 {
			return fmt.Errorf("%g calls have begun, want 4", sum-had)
		}
		return nil
	})
	for id, n := range begun {
		if n == before[id] {
			t.Fatalf("%v, before %v: an instance has none of the calls", begun, before)
		}
	}
	override(t, "scaledown", 1)
	waitDecision(t, "scaledown", "that waits", waitsForRequests)
	for range 4 {
		if err := <-ends; err != nil {
			t.Errorf("a call that was in flight: %v", err)
		}
	}
	waitCount(t, "scaledown", 1)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if n := len(instancesOf(t, "scaledown")); n != 1 {
			return fmt.Errorf("%d instances", n)
		}
		return nil
	})
	wantLimitReported(t, "scaledown")
	after, _ := begunAt(t, "scaledown")
	for id, n := range after {
		if n != begun[id] {
			t.Errorf("%g calls have begun in the instance that stays, %g at first: some ran again\n%s", n, begun[id], why(t, "scaledown"))
		}
	}
}

// The status reports the limit of Nomad's client on draining.
func wantLimitReported(t *testing.T, service string) {
	t.Helper()
	limit := fmt.Sprintf("after %v, though its requests may take 5m0s", maxKillTimeout)
	harnesstest.Must(t, "wait for its condition", stack.Agent.WaitCondition(t.Context(), service, harnesstest.WaitLong, "a word of the limit, "+limit, func(c wadi.Condition) bool {
		return c.Type == control.ConditionDrains && strings.Contains(c.Message, limit)
	}))
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // An agent gives its answer again for some seconds.
		ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "doctor")
		if err == nil && !strings.Contains(ran.Stdout, "max_kill_timeout") {
			err = fmt.Errorf("doctor: %v, want it to say what to set", ran)
		}
		return err
	})
}

// usesAll sends a request, and returns nil once so many instances have answered.
func usesAll(t *testing.T, service string, n int) error {
	seen := map[string]bool{}
	for range 40 {
		res := stack.Get(t, service, "/")
		_, instance, _ := strings.Cut(res.Body, "(instance ")
		seen[instance] = true
	}
	if len(seen) != n {
		return fmt.Errorf("%d instances answer, want %d", len(seen), n)
	}
	return nil
}

// Load that comes back while instances drain needs no start.
func TestScaleDown_LoadIsBack(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("returner", "max = 5"))
	override(t, "returner", 2)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return usesAll(t, "returner", 2) })
	before := slices.Sorted(maps.Keys(instancesOf(t, "returner")))
	l := load(t, "returner", 4, 3*time.Second) // Each has requests in flight when it is ordered to drain.
	l.Wait(t, 4)
	override(t, "returner", 1)
	waitDecision(t, "returner", "that waits", waitsForRequests)
	override(t, "returner", 2)
	l.WantAll(t, 4)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return usesAll(t, "returner", 2) })
	if after := slices.Sorted(maps.Keys(instancesOf(t, "returner"))); !slices.Equal(before, after) {
		t.Errorf("%v run, want %v as before\n%s", after, before, why(t, "returner"))
	}
}
