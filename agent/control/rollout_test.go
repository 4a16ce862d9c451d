package control_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

// weights are the shares of a service's revisions now, newest first.
func (c *cluster) weights(name string) string {
	s := c.service(name)
	var out []string
	for i := len(s.Revisions) - 1; i >= 0; i-- {
		if w := weightOf(s.Route, s.Revisions[i].ID); w > 0 {
			out = append(out, fmt.Sprintf("%g", float64(w)/100))
		}
	}
	return strings.Join(out, "/")
}

// underway runs a test in a bubble, in which the second revision of a service under load
// takes over in steps. stop ends the term; lead begins another.
func underway(t *testing.T, r wadi.Rollout, test func(t *testing.T, c *cluster, two string, stop func(), again func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.rollout, c.shared = &r, 40
		_, stop := lead(t, c)
		defer func() { stop() }()
		c.submit("hello")
		time.Sleep(30 * time.Second)
		two := c.submit("hello")
		test(t, c, two, func() { stop() }, func() { _, stop = lead(t, c) })
	})
}

func fourSteps() wadi.Rollout {
	return wadi.Rollout{Duration: wadi.Duration(101 * time.Second), Steps: 4}
}

func TestRollout_StepByStep(t *testing.T) {
	underway(t, fourSteps(), func(t *testing.T, c *cluster, two string, _, _ func()) {
		var got []string
		last := ""
		began := time.Now()
		for range 1200 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if w := c.weights("hello"); w != last {
				last = w
				got = append(got, fmt.Sprintf("%s after %v", w, time.Since(began).Round(5*time.Second)))
			}
		}
		want := []string{"100 after 0s", "1/99 after 0s", "25.75/74.25 after 25s", "50.5/49.5 after 50s", "75.25/24.75 after 1m15s", "100 after 1m40s"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("weights (-want +got):\n%s\n%v", diff, c.scaled())
		}
		s := c.service("hello")
		if r := s.Status.Rollout; r == nil || r.Phase != wadi.RolloutDone || r.Revision != two || r.Percent != 100 {
			t.Errorf("status %+v", r)
		}
		n := c.statuses
		time.Sleep(10 * time.Minute)
		wantCount(t, c, two, 4)
		if c.statuses > n+5 {
			t.Errorf("%d statuses written while nothing changed", c.statuses-n)
		}
	})
}

// The next leader goes on where the last one stopped, and the time without one makes for one
// step.
func TestRollout_SurvivesTheLeader(t *testing.T) {
	underway(t, fourSteps(), func(t *testing.T, c *cluster, two string, stop, again func()) {
		time.Sleep(30 * time.Second)
		if got := c.weights("hello"); got != "25.75/74.25" {
			t.Fatalf("weights %s", got)
		}
		stop()
		time.Sleep(10 * time.Minute)
		again()
		time.Sleep(5 * time.Second)
		if got := c.weights("hello"); got != "50.5/49.5" {
			t.Errorf("weights %s after ten minutes without a leader, want one step", got)
		}
		time.Sleep(22 * time.Second)
		if got := c.weights("hello"); got != "75.25/24.75" {
			t.Errorf("weights %s a step later", got)
		}
		time.Sleep(time.Minute)
		if r := c.service("hello").Status.Rollout; r == nil || r.Phase != wadi.RolloutDone || r.Revision != two {
			t.Errorf("status %+v", r)
		}
	})
}

// A step is judged by what came since it was programmed, or since the leader began; the
// reasons are in the status, in the events, and in Nomad.
func TestRollout_IsJudged(t *testing.T) {
	r := fourSteps()
	r.MaxErrorPercent = 1
	underway(t, r, func(t *testing.T, c *cluster, two string, stop, again func()) {
		answer := func(ok, failed uint64) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.answers = map[string]wadi.Outcomes{"hello-00001": {Codes: map[string]uint64{"200": 1000}}, two: {Codes: map[string]uint64{"200": ok, "500": failed}}}
			c.since = map[string]time.Time{}
		}
		stop()
		answer(5, 0)
		again()
		time.Sleep(5 * time.Minute)
		s := c.service("hello")
		if got := s.Status.Rollout; c.weights("hello") != "1/99" || got.Phase != wadi.RolloutJudging || !strings.Contains(got.Reason, "5 requests") {
			t.Fatalf("weights %s, status %+v", c.weights("hello"), got)
		}
		if at := c.since[two]; !at.Equal(s.State.Rollout.Programmed) {
			t.Errorf("judged since %v, programmed %v", at, s.State.Rollout.Programmed)
		}
		stop()
		again()
		time.Sleep(3 * time.Second)
		if got := c.service("hello").Status.Rollout; !strings.Contains(got.Reason, "observed anew") || !c.since[two].After(s.State.Rollout.Programmed) {
			t.Errorf("status %+v, judged since %v", got, c.since[two])
		}
		answer(900, 100)
		time.Sleep(3 * time.Second)
		s = c.service("hello")
		if got := s.Status.Rollout; c.weights("hello") != "100" || got.Phase != wadi.RolloutRolledBack || !strings.Contains(got.Reason, "10 % of 1,000") {
			t.Errorf("weights %s, status %+v", c.weights("hello"), got)
		}
		if got := s.Status.Events[len(s.Status.Events)-1]; !strings.Contains(fmt.Sprint(s.Status.Events), "rolled back at 1%") {
			t.Errorf("last event %+v", got)
		}
		if got := c.notes[len(c.notes)-1]; !strings.HasPrefix(got, two+" rollout: rolled back at 1%: ") {
			t.Errorf("noted in Nomad: %q", got)
		}
		if len(c.notes) > 5 {
			t.Errorf("%d notes in Nomad: %q", len(c.notes), c.notes)
		}
	})
}

// Instances are there before the share of the load that they are for, and stay until it is in
// their own measured load.
func TestRollout_WarmsFirst(t *testing.T) {
	underway(t, wadi.Rollout{}, func(t *testing.T, c *cluster, two string, _, _ func()) {
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			s := c.service("hello")
			if w := weightOf(s.Route, two); w > 0 && c.count(two) < 4 {
				t.Fatalf("%d of the weight at a count of %d", w, c.count(two))
			}
		}
		if got := c.weights("hello"); got != "100" || weightOf(c.service("hello").Route, two) != wadi.WeightAll {
			t.Fatalf("weights %s", got)
		}
		wantCount(t, c, two, 4)
		for _, s := range c.scaled() {
			if s == two+"=2" || s == two+"=3" {
				t.Errorf("warmed in several steps: %v", c.scaled())
			}
		}
	})
}

// A service may be deleted in mid-rollout.
func TestRollout_ServiceIsDeleted(t *testing.T) {
	underway(t, fourSteps(), func(t *testing.T, c *cluster, _ string, _, _ func()) {
		time.Sleep(30 * time.Second)
		_ = c.edit("hello", func(s *wadi.Stored) { s.Deleting = true; s.Generation++ })
		c.notify("hello")
		time.Sleep(2 * time.Minute)
		if _, err := c.Load(t.Context(), "hello"); err == nil {
			t.Errorf("it is still there: %+v", c.service("hello").Status)
		}
	})
}
