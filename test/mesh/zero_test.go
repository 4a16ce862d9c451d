//go:build e2e

package mesh_test

import (
	"errors"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// Two callers ask without a pause, 200 times a second in all, for a service that goes
// from zero to one, is sent to zero in the midst of it, and comes back. No call fails.
func TestZero_UnderLoad(t *testing.T) {
	t.Parallel()
	deploy(t, hello("flap", options{}))
	loads := []*load{
		startLoad(t, callerA, "flap", "/", 10*time.Millisecond, from("flap-00001")),
		startLoad(t, callerB, "flap", "/", 10*time.Millisecond, from("flap-00001")),
	}
	for _, l := range loads {
		l.wait(t, 200)
	}
	waitDirect(t, callerA, "flap")
	for round := range 2 {
		had := len(wakes(t, "flap-00001"))
		scaleByHand(t, "flap-00001", 0)
		err := harness.Eventually(t.Context(), waitLong, func() error {
			if len(wakes(t, "flap-00001")) <= had {
				return errors.New("no wake")
			}
			return nil
		})
		if err != nil {
			t.Errorf("round %d: %v: %v, %v", round, err, loads[0], loads[1])
		}
		for _, l := range loads {
			l.wait(t, 300)
		}
		waitDirect(t, callerA, "flap")
	}
	for _, l := range loads {
		l.wantAll(t, 800)
	}
}
