//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// An app that never starts: waiting requests get Nomad's reason, and apply reports the
// same. Nothing of it keeps running.
func TestServing_NeverStarts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		o      options
		reason string // Nomad's text.
	}{
		{"exits", options{env: map[string]string{"FAIL_START": "1"}}, "Exit Code: 1"},
		{"missing", options{command: "no-such-program"}, "no-such-program"},
		{"nowhere", options{instance: `constraint {
      attribute = "${attr.kernel.name}"
      value     = "windows"
    }`}, `constraint "${attr.kernel.name} = windows" excludes 1 node`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name := "never-" + tt.name
			tt.o.timeout, tt.o.queue = `progress = "20s"`, `timeout = "40s"`
			file := filepath.Join(t.TempDir(), "service.hcl")
			if err := os.WriteFile(file, []byte(hello(name, tt.o)), 0o600); err != nil {
				t.Fatal(err)
			}
			apply := exec.CommandContext(t.Context(), filepath.Join(stack.Bin, "wadi"), "apply", "-address", "http://"+stack.Agent.API, file)
			applied := make(chan string, 1)
			go func() {
				out, err := apply.CombinedOutput()
				applied <- fmt.Sprintf("%s%v", out, err)
			}()
			t.Cleanup(func() { stack.Remove(t, name) })

			var res harness.Response
			err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
				if res = stack.Get(t, name, "/"); res.Status == 404 {
					return errors.New("it is not known yet")
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			harnesstest.WantStatus(t, res, 503)
			if res.Header.Get("Wadi-Error") != "unplaceable" {
				t.Errorf("got %q with Wadi-Error %q, want unplaceable", res.Body, res.Header.Get("Wadi-Error"))
			}
			findReason(t, name, res.Body, tt.reason)
			out := <-applied
			if !strings.Contains(out, tt.reason) || !strings.Contains(out, "failed") || !strings.HasSuffix(out, "exit status 1") {
				t.Errorf("got from wadi apply %q, want a failure with exit status 1 and the reason %q", out, tt.reason)
			}
			stack.ToZero(t, name+"-00001")
			// Later requests get the answer at once.
			err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
				res := stack.Get(t, name, "/")
				if res.Status != 503 || res.Header.Get("Wadi-Error") != "revision_failed" {
					return fmt.Errorf("got %d %q", res.Status, res.Body)
				}
				findReason(t, name, res.Body, tt.reason)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// findReason expects Nomad's reason in an event, with the ID that an outside caller got in
// its place.
func findReason(t *testing.T, service, answer, reason string) {
	t.Helper()
	if strings.Contains(answer, reason) {
		t.Errorf("a caller from outside got Nomad's words: %q", answer)
	}
	_, id, ok := strings.Cut(strings.TrimSpace(answer), "under ")
	if !ok {
		t.Errorf("got %q, want an ID of the reason", answer)
		return
	}
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		out, err := exec.CommandContext(t.Context(), filepath.Join(stack.Bin, "wadi"), "events", "-address", "http://"+stack.Agent.API, "-service", service, "-json").CombinedOutput()
		if err != nil {
			return fmt.Errorf("wadi events: %w: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			var e struct{ Message string }
			if json.Unmarshal([]byte(line), &e) == nil && strings.Contains(e.Message, id) && strings.Contains(e.Message, reason) {
				return nil
			}
		}
		return fmt.Errorf("%s with %q is in no event: %s", id, reason, out)
	})
	if err != nil {
		t.Error(err)
	}
}

// A service that started once can't start any more: a waiting request gets the reason.
// When it can start again, the next request is served.
func TestServing_FailsToStartAgain(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken")
	stack.Deploy(t, hello("no-more", options{
		command: "sh", args: []string{"-c", "test ! -e " + broken + " || exit 7; exec hello"}, queue: `timeout = "20s"`,
	}))
	stack.ToZero(t, "no-more-00001")
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	res := stack.Get(t, "no-more", "/")
	harnesstest.WantStatus(t, res, 503)
	findReason(t, "no-more", res.Body, "Exit Code: 7")
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if res := stack.Get(t, "no-more", "/"); res.Status != 200 {
			return fmt.Errorf("got status %d: %s", res.Status, res.Body)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// An app that dies in the middle of a request fails that request only.
func TestServing_Crash(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("crash", options{window: "1h"}))
	harnesstest.WantStatus(t, stack.Get(t, "crash", "/"), 200)
	for range 2 {
		harnesstest.WantStatus(t, stack.Get(t, "crash", "/?crash=1"), 502)
		harnesstest.WantStatus(t, stack.Get(t, "crash", "/"), 200)
	}
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		allocs, err := stack.Allocs(t.Context(), "crash-00001")
		if err != nil || len(allocs) != 1 {
			return fmt.Errorf("got allocations %v (%v), want one", allocs, err)
		}
		web := allocs[0].TaskStates["web"] // Nil until Nomad's server knows it.
		if web == nil || web.State != "running" || web.Restarts < 2 {
			return fmt.Errorf("got the app's task %+v, want that it has restarted twice", web)
		}
		if web.Restarts > 2 {
			t.Errorf("got %d restarts of the app, want 2: a request that crashes the app must not be sent again", web.Restarts)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// The status reports it although the revision is ready.
	const exited = "the app (task web) exited with code 3"
	err = stack.Agent.WaitCondition(t.Context(), "crash", harnesstest.WaitLong, "that "+exited+", 2 times", func(c wadi.Condition) bool {
		return c.Type == control.ConditionSteady && !c.OK && strings.HasPrefix(c.Message, "crash-00001: "+exited+", 2 times, last at ")
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"service", "status", "crash"}, {"events", "-service", "crash"}, {"doctor"}} {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // The doctor's answer is given again for some seconds.
			if got, err := stack.Agent.Wadi(t.Context(), "", args...); err != nil || !strings.Contains(got.Stdout, exited) {
				return fmt.Errorf("wadi %s: got %+v (%v), want %q", strings.Join(args, " "), got, err, exited)
			}
			return nil
		})
	}
}

// An app that exceeds its timeout is not waited for, cold or warm. It continues to serve.
func TestServing_TooSlow(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("slow", options{window: "1h", timeout: `request = "5s"`})+
		hello("slow-start", options{timeout: `response_start = "1s"`}))
	for _, name := range []string{"slow", "slow-start"} {
		res := stack.Get(t, name, "/?sleep=1m")
		harnesstest.WantStatus(t, res, 504)
		harnesstest.WantStatus(t, stack.Get(t, name, "/"), 200)
	}
	stack.ToZero(t, "slow-start-00001")
	harnesstest.WantStatus(t, stack.Get(t, "slow-start", "/?sleep=1m"), 504)
	harnesstest.WantStatus(t, stack.Get(t, "slow-start", "/"), 200)
}

// When the queue is full further requests are refused at once, and waiting ones are
// answered.
func TestServing_QueueOverflow(t *testing.T) {
	t.Parallel()
	const depth, requests = 3, 12
	stack.Deploy(t, hello("overflow", options{
		env: map[string]string{"START_DELAY": "8s"}, limit: 1, max: 1, scale: "initial = 0", queue: fmt.Sprintf("depth = %d", depth),
	}))
	var answers []<-chan answer
	for range requests {
		answers = append(answers, ask(t.Context(), "overflow", "/?sleep=10ms"))
	}
	got := collect(t, answers)
	if len(got[200]) != depth || len(got[503]) != requests-depth {
		t.Errorf("got %s, want %d times 200 and %d times 503", statuses(got), depth, requests-depth)
	}
	for _, res := range got[503] {
		if res.Header.Get("Retry-After") == "" || res.Header.Get("Wadi-Error") != "queue_full" {
			t.Errorf("got a refusal with the headers %v, want Retry-After and queue_full", res.Header)
		}
		for _, ok := range got[200] {
			if res.Took > ok.Took {
				t.Errorf("a refusal took %v, longer than an answer that waited (%v)", res.Took, ok.Took)
			}
		}
	}
	harnesstest.WantStatus(t, stack.Get(t, "overflow", "/"), 200)
}

// A request that exceeds the queue timeout is refused with the reason, and later ones are
// served when the instance is ready.
func TestServing_QueueTimeout(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("patience", options{
		env: map[string]string{"START_DELAY": "6s"}, scale: "initial = 0", window: "1h", queue: `timeout = "1s"`,
	}))
	res := stack.Get(t, "patience", "/")
	harnesstest.WantStatus(t, res, 504)
	if got := res.Header.Get("Wadi-Error"); got != "queue_timeout" {
		t.Errorf("got Wadi-Error %q, want queue_timeout", got)
	}
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if res := stack.Get(t, "patience", "/"); res.Status != 200 {
			return fmt.Errorf("got status %d: %s", res.Status, res.Body)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if n := len(stack.Wakes(t, "patience-00001")); n != 1 {
		t.Errorf("got %d wakes, want 1: the instance was on its way", n)
	}
}

// A client that disconnects frees its slot in the queue.
func TestServing_ClientGone(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("gone", options{
		env: map[string]string{"START_DELAY": "10s"}, scale: "initial = 0", window: "1h", queue: "depth = 1",
	}))
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	first := ask(ctx, "gone", "/")
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		n, err := stack.Count(t.Context(), "gone-00001")
		if err == nil && n != 1 {
			err = errors.New("it is not woken")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, stack.Get(t, "gone", "/"), 503) // The slot is taken.
	hangUp()
	if a := <-first; a.err == nil {
		t.Fatalf("got status %d before the client went: this proves nothing", a.Status)
	}
	var res harness.Response
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if res = stack.Get(t, "gone", "/"); res.Status != 200 {
			return fmt.Errorf("got status %d: %s", res.Status, res.Body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("Server-Timing") == "" {
		t.Error("no request could take the free place before the instance was there")
	}
}
