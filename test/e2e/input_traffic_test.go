//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Traffic is set, taken back and shown by the real command line; what can't be is refused with
// the reason, and changes nothing.
func TestInput_TrafficByCommand(t *testing.T) {
	t.Parallel()
	const one, two = "steered-00001", "steered-00002"
	o := options{env: map[string]string{"VERSION": "1"}}
	stack.Deploy(t, hello("steered", o))
	o.env["VERSION"] = "2"
	stack.Deploy(t, hello("steered", o))
	stack.Deploy(t, hello("other-steered", options{}))
	c := stack.Client(t)

	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"traffic", "steered", "latest=90", "1=5"}, []string{"must sum to exactly 100, got 95"}},
		{[]string{"traffic", "steered", "latest=90", "7=10@old"}, []string{`7=10@old: there is no revision "steered-00007"`}},
		{[]string{"traffic", "steered", "latest=50@a", "1=50@a"}, []string{`1=50@a: tag "a" stands for the target`}},
		{[]string{"traffic", "steered", "latest=100", "1@other"}, []string{`1@other: the tag's name "other-steered" is that of the service "other-steered"`}},
		{[]string{"traffic", "-check-index", "1", "steered", "latest"}, []string{"check_index is 1"}},
		{[]string{"traffic", "nosuch", "latest"}, []string{"not found"}},
		{[]string{"rollback", "-to", "9", "steered"}, []string{`no revision "steered-00009"`}},
		{[]string{"rollback", "other-steered"}, []string{"no revision is older than other-steered-00001"}},
		{[]string{"rollout", "pause", "steered"}, []string{"no rollout of steered is under way"}},
	} {
		wantRefused(t, wadiIn(t, nil, tt.args...), tt.want...)
	}

	run := func(want string, args ...string) {
		t.Helper()
		if ran := wadiIn(t, nil, args...); ran.Code != 0 || !strings.Contains(ran.Stdout+ran.Stderr, want) {
			t.Fatalf("wadi %s: got %v, want %q in it", strings.Join(args, " "), ran, want)
		}
	}
	answers := func(revision string) { // A gateway learns of new traffic through Consul.
		t.Helper()
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			res, err := stack.Agent.Get(t.Context(), "steered", "/")
			if got := res.Header.Get("Hello-Revision"); err == nil && got != revision {
				err = fmt.Errorf("status %d of %q, want %s", res.Status, got, revision)
			}
			return err
		})
	}
	run("goes back from "+two+" to "+one, "rollback", "steered")
	answers(one)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if ran := wadiIn(t, nil, "service", "status", "steered"); ran.Code != 0 || !strings.Contains(ran.Stdout, "Pinned") {
			return fmt.Errorf("the status does not say that it is pinned: %v", ran)
		}
		return nil
	})
	if ran := wadiIn(t, nil, "revision", "delete", "-detach", one); ran.Code != 1 || !strings.Contains(ran.Stderr, one+" has a share of the traffic") {
		t.Errorf("delete what serves: %v", ran)
	}
	run("(before: ", "traffic", "steered", "latest=100", "1@old")
	answers(two)
	wantRevision(t, tagged(t, c, "steered", "old"), one)
}
