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
