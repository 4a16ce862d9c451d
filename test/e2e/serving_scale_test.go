//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// However many requests wait for a service at zero, it is woken once, and all are
// answered. Not parallel: the metrics are of all services.
func TestServing_ManyColdRequestsAreOneWake(t *testing.T) {
	const requests = 200
	stack.Deploy(t, hello("herd", options{env: map[string]string{"START_DELAY": "1s"}, scale: "initial = 0", max: 1}))
	before := stack.Metric(t, "wadi_activator_wakes_total")

	var answers []<-chan answer
	for range requests {
		answers = append(answers, ask(t.Context(), "herd", "/"))
	}
	if got := collect(t, answers); len(got[200]) != requests {
		t.Errorf("got %s, want %d times 200", statuses(got), requests)
	}
	if got := stack.Metric(t, "wadi_activator_wakes_total") - before; got != 1 {
		t.Errorf("got %g wakes, want 1", got)
	}
	events := stack.Scalings(t, "herd-00001")
	if len(events) != 1 || !strings.Contains(events[0].Message, "woken by a request: 0 to 1") {
		t.Errorf("got scalings %+v in Nomad, want one, by the request", events)
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // Counted after the answer.
		if got := stack.Metric(t, "wadi_activator_waiting_requests"); got != 0 {
			return fmt.Errorf("%g requests wait, want none", got)
		}
		return nil
	})
}

// Load above one instance's target adds instances, and all of them serve. When the load
// ends they stop: down to one for a trickle, and to none after it. No request fails, and
// Nomad's history has a reason for each step.
func TestServing_UpUnderLoadAndDown(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("updown", options{target: 2, max: 4, scale: "initial = 0"}))
	c := stack.Client(t)
	heavy := startWorkers(t, c, harnesstest.URL("updown", "/?sleep=100ms"), 6)
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if heavy.Instances() < 4 {
			return fmt.Errorf("%d instances have answered", heavy.Instances())
		}
		return nil
	})
	if err != nil {
		t.Errorf("scale up: %v", err)
	}
	trickle := startWorkers(t, c, harnesstest.URL("updown", "/?sleep=20ms"), 1)
	heavy.WantAll(t, 5)
	err = stack.WaitCount(t.Context(), "updown-00001", harnesstest.WaitLong, func(n int) bool { return n == 1 })
	if err != nil {
		t.Errorf("scale down: %v", err)
	}
	trickle.WantAll(t, 5)
	stack.ToZero(t, "updown-00001")

	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // Nomad writes it after the job.
		var steps []int
		for _, e := range stack.Scalings(t, "updown-00001") {
			if e.Error || e.Count == nil || len(e.Message) < 10 {
				return harness.Final(fmt.Errorf("a scaling in Nomad does not say why: %+v", e))
			}
			steps = append(steps, int(*e.Count))
		}
		if len(steps) < 4 || slices.Max(steps) != 4 || steps[0] != 1 || steps[len(steps)-1] != 0 {
			return fmt.Errorf("got the steps %v in Nomad's history, want from 1 up to 4 and down to 0", steps)
		}
		return nil
	})
}

// Changed bounds change neither revision nor job nor instance, and still take effect.
func TestServing_ChangedBounds(t *testing.T) {
	t.Parallel()
	o := options{min: 1, max: 2, window: "60s"}
	stack.Deploy(t, hello("bounds", o))
	job := func() (version, index uint64) {
		t.Helper()
		j, _, err := stack.Nomad.Jobs().Info("bounds-00001", nil)
		if err != nil {
			t.Fatal(err)
		}
		return *j.Version, *j.JobModifyIndex
	}
	version, index := job()
	allocs := liveAllocs(t, "bounds-00001")

	apply := func(o options) {
		t.Helper()
		sub, err := stack.Agent.Submit(t.Context(), hello("bounds", o))
		if err != nil {
			t.Fatal(err)
		}
		s := sub.Services[0]
		if s.NewRevision || !s.Changed || s.Revision != "bounds-00001" {
			t.Errorf("got %+v, want a change without a new revision", s)
		}
		if err := stack.Agent.WaitReady(t.Context(), "bounds", s.Generation); err != nil {
			t.Fatal(err)
		}
	}
	o.max, o.target, o.queue, o.scale = 9, 7, "depth = 7", "down_delay = \"3s\""
	apply(o)
	harnesstest.WantStatus(t, stack.Get(t, "bounds", "/"), 200)
	if v, i := job(); v != version || i != index {
		t.Errorf("the job has version %d and index %d, want %d and %d as before", v, i, version, index)
	}

	o.min = 2 // The count changes, and nothing else.
	apply(o)
	if err := stack.WaitCount(t.Context(), "bounds-00001", harnesstest.WaitLong, func(n int) bool { return n == 2 }); err != nil {
		t.Error(err)
	}
	if got := liveAllocs(t, "bounds-00001"); !slices.Contains(got, allocs[0]) {
		t.Errorf("got allocations %v, want %s to be still there", got, allocs[0])
	}
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error { // Nomad writes it after the job.
		events := stack.Scalings(t, "bounds-00001")
		if last := events[len(events)-1]; last.Count == nil || *last.Count != 2 {
			return fmt.Errorf("got %+v as the last scaling, want it to 2", last)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	revs, err := stack.Agent.Client.Revisions(t.Context(), "bounds")
	if err != nil || len(revs) != 1 {
		t.Errorf("got revisions %+v (%v), want one", revs, err)
	}
}

func liveAllocs(t *testing.T, revision string) []string {
	t.Helper()
	all, err := stack.Allocs(t.Context(), revision)
	if err != nil || len(all) == 0 {
		t.Fatalf("got allocations %v (%v), want at least one", all, err)
	}
	var ids []string
	for _, a := range all {
		ids = append(ids, a.ID)
	}
	return ids
}

// Ten services of one file are all called at once from zero: each answers for itself, and
// each is woken once.
func TestServing_TenServicesAtOnce(t *testing.T) {
	t.Parallel()
	const services, requests = 10, 5
	var hcl strings.Builder
	for i := range services {
		hcl.WriteString(hello(fmt.Sprintf("ten-%d", i), options{scale: "initial = 0", max: 1}))
	}
	stack.Deploy(t, hcl.String())
	var answers [services][]<-chan answer
	for range requests {
		for i := range services {
			answers[i] = append(answers[i], ask(t.Context(), fmt.Sprintf("ten-%d", i), "/"))
		}
	}
	for i := range services {
		revision := fmt.Sprintf("ten-%d-00001", i)
		got := collect(t, answers[i])
		if len(got[200]) != requests {
			t.Errorf("%s: got %s, want %d times 200", revision, statuses(got), requests)
		}
		for _, res := range got[200] {
			if res.Header.Get("Hello-Revision") != revision {
				t.Errorf("%s: got answer %q", revision, res.Body)
			}
		}
		if n := len(stack.Wakes(t, revision)); n != 1 {
			t.Errorf("%s: got %d wakes, want 1", revision, n)
		}
	}
}

// concurrency.limit = 1 holds along the whole way, with several instances and while they
// start and stop: the app refuses a second request at once.
func TestServing_LimitOfOne(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("one", options{limit: 1, max: 3, scale: "initial = 0"})+hello("many", options{max: 1, scale: "initial = 0"}))
	var one, many []<-chan answer
	for range 60 {
		one = append(one, ask(t.Context(), "one", "/?exclusive=1&sleep=100ms"))
		many = append(many, ask(t.Context(), "many", "/?exclusive=1&sleep=100ms"))
	}
	if got := collect(t, one); len(got[200]) != len(one) {
		t.Errorf("got %s, want %d times 200", statuses(got), len(one))
	}
	// Proves that a violation would be noticed.
	if got := collect(t, many); len(got[500]) == 0 {
		t.Errorf("got %s from a service without a limit, want some requests to meet", statuses(got))
	}
}

// An instance with a request in flight accepts no new ones when fewer instances are
// wanted. It answers the request, and only then the count is lowered.
func TestServing_InFlightAtScaleDown(t *testing.T) {
	t.Parallel()
	o := options{min: 3, max: 3}
	stack.Deploy(t, hello("drain", o))
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if n, err := stack.Running(t.Context(), "drain-00001"); err != nil || n != 3 {
			return fmt.Errorf("%d instances run (%v)", n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c := stack.Client(t)
	all := startWorkers(t, c, harnesstest.URL("drain", "/?sleep=10ms"), 3)
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error { // All three take requests.
		if all.Instances() < 3 {
			return fmt.Errorf("%d instances have answered", all.Instances())
		}
		return nil
	})
	all.WantAll(t, 3)
	if err != nil {
		t.Fatal(err)
	}
	var inFlight []*open
	for range 6 { // At least one in each instance.
		inFlight = append(inFlight, openRequest(t, "drain"))
	}
	o.min, o.max = 1, 1
	stack.Deploy(t, hello("drain", o))
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		who := map[string]bool{}
		for range 12 {
			res := stack.Get(t, "drain", "/")
			if res.Status != 200 {
				return harness.Final(fmt.Errorf("got status %d: %s", res.Status, res.Body))
			}
			who[res.Body] = true
		}
		if len(who) != 1 {
			return fmt.Errorf("%d instances take further requests, want one", len(who))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if n, err := stack.Count(t.Context(), "drain-00001"); err != nil || n != 3 {
		t.Errorf("got a count of %d (%v) while all have requests in flight, want 3", n, err)
	}
	if live := liveAllocs(t, "drain-00001"); len(live) != 3 {
		t.Errorf("%d instances live while all have requests in flight, want 3", len(live))
	}
	for _, r := range inFlight {
		r.finish(t, "drain-00001")
	}
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if live := liveAllocs(t, "drain-00001"); len(live) != 1 {
			return fmt.Errorf("%d instances live", len(live))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// In Nomad's UI a revision's job says what it is and for which service, and links to its
// address.
func TestServing_JobExplainsItself(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("ui", options{scale: "initial = 0"}))
	j, _, err := stack.Nomad.Jobs().Info("ui-00001", nil)
	if err != nil {
		t.Fatal(err)
	}
	if j.Meta["wadi_service"] != "ui" || j.Meta["wadi_revision"] != "ui-00001" || j.Meta["wadi_spec_hash"] == "" {
		t.Errorf("got meta %v", j.Meta)
	}
	if j.UI == nil || !strings.Contains(j.UI.Description, "Revision 1 of Wadi service **ui**") || len(j.UI.Links) != 1 {
		t.Fatalf("got ui block %+v", j.UI)
	}
	// The link works if names below localhost resolve to this machine.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, j.UI.Links[0].URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(stack.Agent.Gateway, ":")
	if req.URL.Port() != port {
		t.Errorf("got link %s, want it to the gateway's port %s", req.URL, port)
	}
	res, err := harness.Do(stack.Client(t), req)
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, res, 200)
	// The service's status names the same address.
	s, err := stack.Agent.Client.Service(t.Context(), "ui")
	if err != nil || strings.TrimSuffix(s.Status.URL, "/") != strings.TrimSuffix(j.UI.Links[0].URL, "/") {
		t.Errorf("got status with URL %q (%v), want %q", s.Status.URL, err, j.UI.Links[0].URL)
	}
	if _, err := stack.Agent.Client.Service(t.Context(), "nosuch"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("got %v for a service that is not there, want not found", err)
	}
}
