//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// A second revision takes the traffic when it is ready: no request fails, none is
// answered by the old one afterwards, and one that is in flight there is finished.
func TestServing_SecondRevision(t *testing.T) {
	t.Parallel()
	o := options{env: map[string]string{"VERSION": "1"}}
	deploy(t, hello("second", o))
	wantStatus(t, get(t, "second", "/"), 200)
	l := startLoad(t, client(t), urlOf("second", "/"), 20*time.Millisecond)
	long := openRequest(t, "second")

	o.env = map[string]string{"VERSION": "2", "START_DELAY": "1s"}
	deploy(t, hello("second", o))
	err := harness.Eventually(t.Context(), waitLong, func() error {
		if _, n := l.count("hello from second-00002"); n < 100 {
			return fmt.Errorf("revision 2 has answered %d times", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	_, before := l.count("hello from second-00001")
	res := get(t, "second", "/")
	wantStatus(t, res, 200)
	l.wantNoFailure(t, 100)
	if _, after := l.count("hello from second-00001"); before == 0 || after != before {
		t.Errorf("revision 1 has answered %d times, and %d since revision 2 had the traffic; want some and none", before, after-before)
	}
	long.finish(t, "second-00001")
	err = stack.WaitCount(t.Context(), "second-00001", waitLong, func(n int) bool { return n == -1 })
	if err == nil {
		err = stack.WaitGone(t.Context(), "second-00001", waitLong)
	}
	if err != nil {
		t.Errorf("revision 1 goes when nothing goes to it: %v", err)
	}
}

// A second revision that never becomes ready changes nothing for callers, says why,
// and goes; a third one that is well takes over.
func TestServing_BadRevision(t *testing.T) {
	t.Parallel()
	o := options{timeout: `progress = "10s"`}
	deploy(t, hello("bad", o))
	l := startLoad(t, client(t), urlOf("bad", "/"), 20*time.Millisecond)
	o.env = map[string]string{"FAIL_START": "1"}
	submit(t, hello("bad", o))
	var s wadi.Status
	err := harness.Eventually(t.Context(), waitLong, func() error {
		got, err := stack.Agent.Client.Service(t.Context(), "bad")
		if s = got.Status; err == nil && s.Phase != "failed" {
			err = fmt.Errorf("it is %s", s.Phase)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if text := fmt.Sprintf("%+v", s.Conditions); !strings.Contains(text, "bad-00002") || !strings.Contains(text, "Exit Code: 1") {
		t.Errorf("got conditions %s, want the reason of revision 2", text)
	}
	for _, r := range s.Revisions {
		if want := map[string]float64{"bad-00001": 100, "bad-00002": 0}[r.ID]; r.Percent != want {
			t.Errorf("%s has %v percent of the traffic, want %v", r.ID, r.Percent, want)
		}
	}
	err = stack.WaitCount(t.Context(), "bad-00002", waitLong, func(n int) bool { return n <= 0 })
	if err == nil {
		err = stack.WaitGone(t.Context(), "bad-00002", waitLong)
	}
	if err != nil {
		t.Errorf("the failed revision goes: %v", err)
	}
	all, good := l.count("hello from bad-00001")
	if all != good {
		t.Errorf("only %d of %d answers were revision 1's", good, all)
	}

	o.env = map[string]string{"VERSION": "3"}
	deploy(t, hello("bad", o))
	err = harness.Eventually(t.Context(), waitLong, func() error {
		if _, n := l.count("hello from bad-00003"); n < 20 {
			return fmt.Errorf("revision 3 has answered %d times", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	l.wantNoFailure(t, 100)
	if _, n := l.count("hello from bad-00002"); n > 0 {
		t.Errorf("the bad revision has answered %d times", n)
	}
}
