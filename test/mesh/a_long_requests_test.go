//go:build e2e

package mesh_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// Envoy has a timeout of 15 s, and an idle timeout of 300 s, unless four settings change
// them. A request that waits a minute for its instance and then two minutes for its answer
// gets it, and so does one that goes directly to the instance.
//
// The calls take three minutes of waiting, so they begin before all other tests.
func TestLong_Begin(t *testing.T) { long.begin(t) }

func TestLong_WaitAndAnswer(t *testing.T) {
	t.Parallel()
	long.begin(t)
	t.Cleanup(func() { stack.Remove(t, "long") })
	eventually(t, 2*waitLong, func() error {
		_, err := callerB.Send(t, http.MethodGet, "long", "/", nil, nil)
		return err
	})
	waitDirect(t, callerB, "long")
	before := activated(t, "long")
	warm := longCall(t, callerB)
	for what, c := range map[string]<-chan longAnswer{"cold": long.cold, "warm": warm} {
		a := <-c
		if a.err != nil {
			t.Errorf("%s: %v", what, a.err)
			continue
		}
		t.Logf("%s: status %d after %v", what, a.Status, a.Took)
		wantFrom(t, a.Response, "long-00001")
		if least := map[string]time.Duration{"cold": 180 * time.Second, "warm": 120 * time.Second}[what]; a.Took < least {
			t.Errorf("%s: it took %v only, so it proves nothing", what, a.Took)
		}
	}
	if after := activated(t, "long"); after > before+1 { // The cold request, which is counted at its end.
		t.Errorf("%g requests ended in the activator after the instance was up, want the cold one only", after-before)
	}
}

// long is the call that waits for its instance.
var long coldCall

type coldCall struct {
	once sync.Once
	cold <-chan longAnswer
}

// begin sends the call, and returns when its instance starts. The service outlives the
// test.
func (c *coldCall) begin(t *testing.T) {
	c.once.Do(func() {
		hcl := hello("long", options{env: map[string]string{"START_DELAY": "60s"}, queue: `timeout = "120s"`})
		must(t, "deploy", stack.Agent.Apply(t.Context(), hcl))
		waitKnown(t, callerA, "long")
		waitKnown(t, callerB, "long")
		c.cold = longCall(t, callerA)
		waitProcess(t, "long-00001", "envoy")
	})
}

type longAnswer struct {
	harness.Response
	err error
}

// longCall sends a call whose answer takes two minutes.
func longCall(t *testing.T, c *caller) <-chan longAnswer {
	out := make(chan longAnswer, 1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL("long", "/?sleep=120s"), nil)
	must(t, "make request", err)
	client := c.Client(t) // Its connection in use is not closed at the end of t.
	go func() {
		defer cancel()
		res, err := harness.Do(client, req)
		out <- longAnswer{res, err}
	}()
	return out
}

// Streamed pieces arrive one by one, in both directions: through the activator and
// directly.
func TestStream_PieceByPiece(t *testing.T) {
	t.Parallel()
	deploy(t, hello("drip", options{}))
	for _, state := range []string{"cold", "warm"} {
		if state == "warm" {
			waitDirect(t, callerA, "drip")
		}
		in, out := io.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, callerA.URL("drip", "/"), in)
		must(t, "make request", err)
		go func() { _, _ = out.Write([]byte("0")) }() // If the app does not read it, the answer does not come.
		res, err := callerA.Client(t).Do(req)
		must(t, state+": begin", err)
		// Each piece is sent only when the one before has come back.
		var got strings.Builder
		for next := byte('0'); next < '6'; next++ {
			piece := make([]byte, 1)
			if _, err := io.ReadFull(res.Body, piece); err != nil {
				t.Fatalf("%s: got %q, then %v (status %d)", state, got.String(), err, res.StatusCode)
			}
			got.Write(piece)
			if next < '5' {
				_, err := out.Write([]byte{next + 1})
				must(t, state+": send a piece", err)
			}
		}
		must(t, "end", out.Close())
		rest, err := io.ReadAll(res.Body)
		if got.String() != "012345" || len(rest) > 0 || err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s: got status %d, pieces %q, then %q and %v; want 012345", state, res.StatusCode, got.String(), rest, err)
		}
		_ = res.Body.Close() // It was read to its end.
		cancel()
	}
	if n := activated(t, "drip"); n < 1 {
		t.Error("no request went through the activator")
	}
}
