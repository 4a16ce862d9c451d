//go:build e2e

package mesh_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A service goes from zero to one and back by itself, and every call is answered: also at
// the moment when its instance stops. A body that waits for an instance arrives whole.
func TestZero_ByItself(t *testing.T) {
	t.Parallel()
	deploy(t, hello("nap", options{window: "6s"}))
	l := startLoad(t, callerA, "nap", "/", 100*time.Millisecond, from("nap-00001"))
	l.Wait(t, 30)
	l.WantAll(t, 6)
	waitDirect(t, callerA, "nap")
	err := stack.WaitCount(t.Context(), "nap-00001", waitLong, func(n int) bool { return n == 0 })
	must(t, "to zero by itself", err)
	l = startLoad(t, callerA, "nap", "/", 100*time.Millisecond, from("nap-00001"))
	l.Wait(t, 50)
	l.WantAll(t, 10)
	stack.ToZero(t, "nap-00001")

	body := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(body) // Never fails.
	res, err := callerA.Send(t, http.MethodPost, "nap", "/", nil, bytes.NewReader(body))
	must(t, "send a body to a service at zero", err)
	wantFrom(t, res, "nap-00001")
	if res.Body != string(body) {
		t.Errorf("got %d bytes back that differ from the %d sent", len(res.Body), len(body))
	}
}

// Two callers send 200 calls a second in all to a service that goes from zero to one, is
// set to zero meanwhile, and comes back. No call fails.
//
// It runs alone, as it needs the whole machine.
func TestZero_UnderLoad(t *testing.T) {
	deploy(t, hello("flap", options{}))
	loads := []*harnesstest.Load{
		startLoad(t, callerA, "flap", "/", 10*time.Millisecond, from("flap-00001")),
		startLoad(t, callerB, "flap", "/", 10*time.Millisecond, from("flap-00001")),
	}
	for _, l := range loads {
		l.Wait(t, 200)
	}
	waitDirect(t, callerA, "flap")
	for round := range 2 {
		had := instances(t, "flap-00001")
		stack.ScaleByHand(t, "flap-00001", 0)
		err := harness.Eventually(t.Context(), waitLong, func() error {
			if n := instances(t, "flap-00001"); n <= had {
				return fmt.Errorf("%d instances so far, want one more", n)
			}
			return nil
		})
		if err != nil {
			t.Errorf("round %d: %v: %v, %v", round, err, loads[0], loads[1])
		}
		for _, l := range loads {
			l.Wait(t, 300)
		}
		waitDirect(t, callerA, "flap")
	}
	for _, l := range loads {
		l.WantAll(t, 160)
	}
}

// instances counts the instances that a revision has had.
func instances(t *testing.T, revision string) int {
	t.Helper()
	all, _, err := stack.Nomad.Jobs().Allocations(revision, true, nil)
	must(t, "list allocations", err)
	return len(all)
}
