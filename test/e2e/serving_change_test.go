//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A second revision takes the traffic when it is ready: no request fails, later ones are
// not answered by the old revision, and a request in flight there completes.
func TestServing_SecondRevision(t *testing.T) {
	t.Parallel()
	o := options{env: map[string]string{"VERSION": "1"}}
	stack.Deploy(t, hello("second", o))
	harnesstest.WantStatus(t, stack.Get(t, "second", "/"), 200)
	l := startLoad(t, stack.Client(t), harnesstest.URL("second", "/"), 20*time.Millisecond)
	long := openRequest(t, "second")

	o.env = map[string]string{"VERSION": "2", "START_DELAY": "1s"}
	stack.Deploy(t, hello("second", o))
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if n, _ := l.Answers("hello from second-00002"); n < 100 {
			return fmt.Errorf("revision 2 has answered %d times", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	before, _ := l.Answers("hello from second-00001")
	res := stack.Get(t, "second", "/")
	harnesstest.WantStatus(t, res, 200)
	l.WantAll(t, 20)
	if after, _ := l.Answers("hello from second-00001"); before == 0 || after != before {
		t.Errorf("revision 1 has answered %d times, and %d since revision 2 had the traffic; want some and none", before, after-before)
	}
	long.finish(t, "second-00001")
	err = stack.WaitCount(t.Context(), "second-00001", harnesstest.WaitLong, func(n int) bool { return n == -1 })
	if err == nil {
		err = stack.WaitGone(t.Context(), "second-00001", harnesstest.WaitLong)
	}
	if err != nil {
		t.Errorf("revision 1 goes when nothing goes to it: %v", err)
	}
}

// A second revision that never becomes ready changes nothing for callers, reports why, and
// is removed; a good third one takes over.
func TestServing_BadRevision(t *testing.T) {
	t.Parallel()
	o := options{}
	stack.Deploy(t, hello("bad", o))
	l := startLoad(t, stack.Client(t), harnesstest.URL("bad", "/"), 20*time.Millisecond)
	o.env, o.timeout = map[string]string{"FAIL_START": "1"}, `progress = "40s"` // A busy machine has to know the reason by then.
	stack.Submit(t, hello("bad", o))
	var s wadi.Status
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
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
	err = stack.WaitCount(t.Context(), "bad-00002", harnesstest.WaitLong, func(n int) bool { return n <= 0 })
	if err == nil {
		err = stack.WaitGone(t.Context(), "bad-00002", harnesstest.WaitLong)
	}
	if err != nil {
		t.Errorf("the failed revision goes: %v", err)
	}
	if good, others := l.Answers("hello from bad-00001"); others > 0 {
		t.Errorf("only %d of %d answers were revision 1's", good, good+others)
	}

	o.env, o.timeout = map[string]string{"VERSION": "3"}, ""
	stack.Deploy(t, hello("bad", o))
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if n, _ := l.Answers("hello from bad-00003"); n < 20 {
			return fmt.Errorf("revision 3 has answered %d times", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	l.WantAll(t, 20)
	if n, _ := l.Answers("hello from bad-00002"); n > 0 {
		t.Errorf("the bad revision has answered %d times", n)
	}
}
