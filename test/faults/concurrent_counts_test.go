//go:build e2e

package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	base "github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Two users set a service's count again and again, at the same moments, to zero too, while
// two agents wake it and the leader scales it. Nomad before 2.0.1 may accept both of two
// conflicting changes. No request is lost, even if it must not be repeated: no instance
// ends with a request in flight. When the users stop, the count is what the load needs.
func TestCountsChangedAtOnce(t *testing.T) {
	two := startSecond(t)
	scale := `
    window      = "6s"
    max         = 3
    manual_hold = "0s"
    metric "concurrency" {
      target      = 2
      utilization = 1
    }`
	const revision = "atonce-00001"
	stack.Deploy(t, harnesstest.Hello("atonce", scale, ""))
	eventually(t, harnesstest.WaitLong, func() error { return through(two, "atonce", "/")(t.Context()) })
	var loads []*harnesstest.Load
	for _, a := range []*harness.Agent{stack.Agent, two} {
		loads = append(loads, drive(t, 2, 10*time.Millisecond, once(a, "atonce", "/?sleep=300ms")))
	}

	rounds := 0
	for until := time.Now().Add(12 * time.Second); rounds < 200 && time.Now().Before(until); rounds++ {
		var people sync.WaitGroup
		for range 2 {
			people.Go(func() {
				n := rand.IntN(4)
				_, _, err := stack.Nomad.Jobs().Scale(revision, base.GroupInstance, &n, "by hand", false, nil, nil)
				if err != nil {
					t.Errorf("round %d: scale by hand: %v", rounds, err)
				}
			})
		}
		people.Wait()
		pause(t, 100*time.Millisecond)
	}
	t.Logf("%d rounds", rounds)
	for _, l := range loads {
		n, _ := l.Count()
		l.Wait(t, n+20)
	}
	// Four at once, with a target of two per instance.
	err := stack.WaitCount(t.Context(), revision, harnesstest.WaitLong, func(n int) bool { return n == 2 })
	harnesstest.Must(t, "wait for the count that the load asks for", err)
	for _, l := range loads {
		l.WantAll(t, 20)
	}
	stack.ToZero(t, revision)
}

// The doctor says whether Nomad guards against conflicting changes.
func TestDoctor_SaysWhetherNomadGuards(t *testing.T) {
	self, err := stack.Nomad.Agent().Self()
	harnesstest.Must(t, "ask Nomad for its version", err)
	enforces, known := nomad.EnforcesIndex(self.Member.Tags["build"])
	if !known {
		t.Fatalf("Nomad's version is %q", self.Member.Tags["build"])
	}
	ran := wadi(t, nil, "doctor")
	if says := strings.Contains(ran.Stdout, "before 2.0.1, of several guarded changes"); says == enforces {
		t.Errorf("version %s, and the doctor says %v", self.Member.Tags["build"], ran)
	}
}

// once sends a request that is not repeated after an app has seen it.
func once(a *harness.Agent, service, path string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, harnesstest.WaitLong)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPatch, a.URL(path), nil)
		if err != nil {
			return err
		}
		req.Host = service + "." + harness.Domain
		res, err := harness.Do(client, req)
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		return err
	}
}
