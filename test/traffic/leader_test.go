//go:build e2e

package traffic_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A rollout goes on where it was when the leader is killed in the middle of it.
// Callers through Envoy and through the other gateway notice nothing.
func TestRollout_LeaderKilledInTheMiddle(t *testing.T) {
	const name, one, two = "survivor", "survivor-00001", "survivor-00002"
	other, err := stack.NewAgent("wadi-2", "")
	harnesstest.Must(t, "configure a second agent", err)
	harnesstest.Must(t, "start it", other.Start(t.Context()))
	t.Cleanup(func() { harnesstest.Must(t, "stop the second agent", other.Stop(context.WithoutCancel(t.Context()))) })
	harnesstest.Must(t, "wait for it", other.WaitLeader(t.Context()))

	deploy(t, rolled(name, "1", `duration = "5m"`))
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, other.Gateway)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	outside := way{name: "gateway", client: &http.Client{Transport: tr}, url: harnesstest.URL(name, "/")}
	outside.waitStatus(t, http.StatusOK)
	l := startLoad(t, 50*time.Millisecond, outside, throughEnvoy(t, name))
	l.waitAll(t, one, 20)
	stack.Submit(t, rolled(name, "2", "duration = \"20s\"\n steps = 4"))
	before := at(t, stack.Agent, name, two, "begun", begun)

	harnesstest.Must(t, "kill the leader", stack.Agent.Kill())
	restarted := false
	restart := func(ctx context.Context) {
		harnesstest.Must(t, "start the first agent again", stack.Agent.Start(ctx))
		harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(ctx))
		restarted = true
	}
	t.Cleanup(func() {
		if !restarted {
			restart(context.WithoutCancel(t.Context()))
		}
	})
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return leads(t, other) })
	after := at(t, other, name, two, "begun or done", func(r *wadi.RolloutStatus) bool { return r.Percent > 0 })
	if after.Percent < before.Percent {
		t.Errorf("the next leader went from %g back to %g %%", before.Percent, after.Percent)
	}
	at(t, other, name, two, "done", in(wadi.RolloutDone))
	l.waitAll(t, two, 20)
	l.wantAll(t, 100)
	restart(t.Context())
}

// leads is an error unless an agent leads.
func leads(t *testing.T, a *harness.Agent) error {
	l, err := a.Client.Leader(t.Context())
	if err == nil && l.Name != a.Name {
		err = fmt.Errorf("%s leads", l.Name)
	}
	return err
}
