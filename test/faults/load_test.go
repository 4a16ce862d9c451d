//go:build e2e

package faults_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// The kept load of a service survives the leader that kept it, and goes with the service.
func TestLoad_SurvivesTheLeader(t *testing.T) {
	const name = "remembered"
	harnesstest.Must(t, "apply", stack.Agent.Apply(t.Context(), harnesstest.Hello(name, `window = "6s"`, "")))
	deleted := false
	t.Cleanup(func() {
		if !deleted {
			harnesstest.Must(t, "delete", stack.Agent.Delete(context.WithoutCancel(t.Context()), name))
		}
	})
	for range 20 {
		wantAnswer(t, stack.Agent, name, "/")
	}
	kept := func(why string) (n float64) {
		t.Helper()
		eventually(t, harnesstest.WaitLong, func() error {
			h, err := stack.Agent.Client.Load(t.Context(), name)
			n = 0
			for _, r := range h.Requests {
				n += max(0, r)
			}
			if err == nil && n == 0 {
				err = fmt.Errorf("no load is kept %s: %+v", why, h)
			}
			return err
		})
		return n
	}
	before := kept("by the first leader")
	harnesstest.Must(t, "stop the agent", stack.Agent.Stop(t.Context()))
	key := "wadi/load/" + name
	pair, _, err := stack.Consul.KV().Get(key, nil)
	if err != nil || pair == nil || len(pair.Value) > 64<<10 {
		t.Fatalf("key %s: %+v, %v", key, pair, err)
	}
	harnesstest.Must(t, "start the agent again", stack.Agent.Start(t.Context()))
	harnesstest.Must(t, "wait for a leader", stack.Agent.WaitLeader(t.Context()))
	if after := kept("after the second leader came"); after < before {
		t.Errorf("%g requests were kept, now %g are", before, after)
	}
	harnesstest.Must(t, "delete", stack.Agent.Delete(t.Context(), name))
	deleted = true
	eventually(t, harnesstest.WaitLong, func() error {
		pair, _, err := stack.Consul.KV().Get(key, nil)
		if err == nil && pair != nil {
			err = fmt.Errorf("after the deletion there is %s: %+v", key, pair)
		}
		return err
	})
	if _, err := stack.Agent.Client.Load(t.Context(), name); api.StatusOf(err) != 404 {
		t.Errorf("the load of a deleted service: %v", err)
	}
}
