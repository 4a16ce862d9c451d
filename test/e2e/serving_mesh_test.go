//go:build e2e

package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Through its own Envoy another service of the mesh calls one that goes from zero
// to one and back: by itself, and under a steady load by hand. No call fails.
func TestServing_MeshCaller(t *testing.T) {
	t.Parallel()
	if !stack.Cluster.Bridge {
		t.Skip("no bridge networks here: " + stack.Cluster.WhyNot)
	}
	stack.Deploy(t, hello("callee", options{mesh: true, max: 1, scale: "initial = 0\n    manual_hold = \"1s\""}))
	stack.Deploy(t, hello("caller", options{mesh: true, min: 1, max: 1,
		env:     map[string]string{"UPSTREAM": "http://127.0.0.1:9191"},
		service: "upstream \"callee\" {\n    local_port = 9191\n  }",
	}))
	c := stack.Client(t)
	url := harnesstest.URL("caller", "/call/")
	called := "hello from callee-00001"

	// By itself: cold, warm, idle to zero.
	l := startLoad(t, c, url, 100*time.Millisecond)
	waitAnswers(t, l, called, 30)
	l.WantAll(t, 30)
	waitDirect(t, "callee", func() { harnesstest.WantStatus(t, stack.Get(t, "caller", "/call/"), 200) })
	err := stack.WaitCount(t.Context(), "callee-00001", harnesstest.WaitLong, func(n int) bool { return n == 0 })
	if err != nil {
		t.Fatal(err)
	}
	// In that very moment the instance is told to stop, and callers still know it.
	l = startLoad(t, c, url, 100*time.Millisecond)
	waitAnswers(t, l, called, 50)
	l.WantAll(t, 50)

	// Under load that goes on: somebody scales it to zero by hand.
	l = startLoad(t, c, url, 100*time.Millisecond)
	waitAnswers(t, l, called, 20)
	for round := range 2 {
		had := lastWake(t, "callee-00001")
		zero := 0
		_, _, err := stack.Nomad.Jobs().Scale("callee-00001", wadi.GroupInstance, &zero, fmt.Sprintf("by hand, round %d", round), false, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
			if lastWake(t, "callee-00001") <= had {
				return errors.New("no wake")
			}
			return nil
		})
		if err != nil {
			t.Errorf("wake after somebody scaled to zero: %v", err)
		}
		all, _ := l.Count()
		waitAnswers(t, l, called, all+40)
	}
	l.WantAll(t, 100)

	// A body that waits in the mesh for an instance arrives whole.
	stack.ToZero(t, "callee-00001")
	body := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(body) // Never fails.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := harness.Do(c, req)
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, res, 200)
	if res.Body != string(body) {
		t.Errorf("got %d bytes back that differ from the %d sent", len(res.Body), len(body))
	}
	callerUnmoved(t)
}

// waitDirect waits until a call goes from Envoy to Envoy, without an activator.
func waitDirect(t *testing.T, service string, call func()) {
	t.Helper()
	through := fmt.Sprintf("wadi_activator_requests_total{class=\"2xx\",service=%q}", service)
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		before := stack.Metric(t, through)
		call()
		if after := stack.Metric(t, through); before == 0 || after > before {
			return fmt.Errorf("%g calls went through the activator", after)
		}
		return nil
	})
	if err != nil {
		t.Errorf("calls of a warm service: %v", err)
	}
}

// callerUnmoved checks that the caller was not replaced by what happened to the callee.
func callerUnmoved(t *testing.T) {
	t.Helper()
	all, _, err := stack.Nomad.Jobs().Allocations("caller-00001", true, &nomad.QueryOptions{})
	if err != nil || len(all) != 1 {
		t.Errorf("got %d allocations of the caller (%v), want the one", len(all), err)
	}
}

// waitAnswers waits until so many answers with a text have come.
func waitAnswers(t *testing.T, l *harnesstest.Load, text string, n int) {
	t.Helper()
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		so, others := l.Answers(text)
		if others > 0 {
			return harness.Final(fmt.Errorf("%d answers were others than %q: %v", others, text, l))
		}
		if so < n {
			return fmt.Errorf("%d answers have come, want %d: %v", so, n, l)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// In the mesh what Wadi says to itself in headers has no effect either, for a warm
// instance and for one that is woken, and a caller can't choose the revision.
func TestServing_MeshHeadersOfTheCaller(t *testing.T) {
	t.Parallel()
	if !stack.Cluster.Bridge {
		t.Skip("no bridge networks here: " + stack.Cluster.WhyNot)
	}
	stack.Deploy(t, hello("mesh-callee", options{mesh: true, scale: "initial = 0"})+hello("mesh-victim", options{scale: "initial = 0"}))
	stack.Deploy(t, hello("mesh-caller", options{mesh: true, min: 1,
		env:     map[string]string{"UPSTREAM": "http://127.0.0.1:9191"},
		service: "upstream \"mesh-callee\" {\n    local_port = 9191\n  }",
	}))
	for _, state := range []string{"cold", "warm"} {
		if state == "warm" {
			waitDirect(t, "mesh-callee", func() { harnesstest.WantStatus(t, stack.Get(t, "mesh-caller", "/call/"), 200) })
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL("mesh-caller", "/call/?headers=1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []string{"Service", "Revision", "Instance", "Proxied", "Probe"} {
			// What comes from outside is stripped already; the app itself adds them.
			req.Header.Set("Hello-Wadi-"+h, "mesh-victim-00001")
		}
		res, err := harness.Do(stack.Client(t), req)
		if err != nil {
			t.Fatal(err)
		}
		harnesstest.WantStatus(t, res, 200)
		if got := res.Header.Get("Hello-Revision"); got != "mesh-callee-00001" {
			t.Errorf("%s: revision %q answered, want mesh-callee-00001", state, got)
		}
		if strings.Contains(res.Body, "\r\nWadi-") {
			t.Errorf("%s: the app saw internal headers:\n%s", state, res.Body)
		}
	}
}
