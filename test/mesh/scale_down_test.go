//go:build e2e

package mesh_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// maxKillTimeout is how long Nomad's client lets an instance drain: far less than what a
// service asks for, as Nomad's default of 30 s is on most clusters.
const maxKillTimeout = 5 * time.Second

// Before an instance stops, callers' own Envoys send new requests to others, and its
// requests in flight complete, though no activator is on their way.
func TestScaleDown_CallersOwnEnvoys(t *testing.T) {
	t.Parallel()
	const name = "leaves"
	deploy(t, hello(name, options{initial: 2, min: 2, max: 2, window: "6s"}))
	waitDirect(t, callerA, name)
	short := startLoad(t, callerA, name, "/", 50*time.Millisecond, from(name+"-00001"))
	harnesstest.Eventually(t, waitLong, func() error {
		if n := short.Instances(); n != 2 {
			return fmt.Errorf("%d instances answer, want 2", n)
		}
		return nil
	})
	ends, client := make(chan error, 6), callerA.Client(t)
	url := callerA.URL(name, "/?sleep="+(4*maxKillTimeout).String())
	for range cap(ends) { // Envoy uses instances by turns: each gets some.
		go func() { ends <- harnesstest.PostOnce(t.Context(), client, url, requestTimeout) }()
	}
	short.Wait(t, 20) // They have arrived by then.
	_, err := stack.Agent.Client.Override(t.Context(), name, "", 1, time.Hour)
	must(t, "override", err)
	for range cap(ends) {
		if err := <-ends; err != nil {
			t.Errorf("a call that was in flight: %v", err)
		}
	}
	must(t, "wait for one", stack.WaitCount(t.Context(), name+"-00001", waitLong, func(n int) bool { return n == 1 }))
	harnesstest.Eventually(t, waitLong, func() error {
		live, err := stack.Allocs(t.Context(), name+"-00001")
		if err == nil && len(live) != 1 {
			err = fmt.Errorf("%d instances", len(live))
		}
		return err
	})
	short.WantAll(t, 100)
}
