//go:build e2e

package mesh_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/test/harness"
)

// waitLong bounds waits for what takes seconds on an idle machine.
const waitLong = 90 * time.Second

// requestTimeout bounds a request that is not meant to be long.
const requestTimeout = 2 * time.Minute

// options are what a test wants different in its service of the example app. The
// zero value scales from zero to one, and stays up for a minute without requests.
type options struct {
	env      map[string]string // Of the app.
	window   string            // Empty: 60s.
	min, max int               // max 0: 1.
	initial  int
	queue    string // More of the queue block.
	scale    string // More of the scale block.
	more     string // More of the service block.
}

// hello renders a service of the example app in the mesh.
func hello(name string, o options) string {
	var env strings.Builder
	for _, k := range slices.Sorted(maps.Keys(o.env)) {
		fmt.Fprintf(&env, "        %s = %q\n", k, o.env[k])
	}
	if o.window == "" {
		o.window = "60s"
	}
	return fmt.Sprintf(`service %q {
  network = "bridge"
  mesh    = "envoy"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      env {
%s      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  probe {
    http = "/healthz"
  }
  queue {
    quiet = [%q]
    %s
  }
  scale {
    min         = %d
    max         = %d
    initial     = %d
    window      = %q
    manual_hold = "1s"
    %s
  }
  %s
}
`, name, env.String(), quietPath, o.queue, o.min, max(o.max, 1), o.initial, o.window, o.scale, o.more)
}

// deploy applies services, waits until they are ready and callers' Envoys know them,
// and deletes them at the end.
func deploy(t *testing.T, hcl string) {
	t.Helper()
	for _, s := range submit(t, hcl) {
		if err := stack.Agent.WaitReady(t.Context(), s.name, s.generation); err != nil {
			t.Fatalf("deploy %s: %v", s.name, err)
		}
		if slices.Contains(callees, s.name) {
			waitKnown(t, callerA, s.name)
			waitKnown(t, callerB, s.name)
		}
	}
}

// quietPath is one that wakes no service of the tests.
const quietPath = "/quiet"

// waitKnown waits until a caller's Envoy sends what it gets for a service to the
// service, or to the activator with the service's name. It wakes nothing.
func waitKnown(t *testing.T, c *caller, service string) {
	t.Helper()
	err := harness.Eventually(t.Context(), waitLong, func() error {
		res, err := c.send(t, http.MethodGet, service, quietPath, nil, nil)
		// Who may not call is told so.
		if err == nil && res.Status != http.StatusOK && res.Status != http.StatusForbidden &&
			res.Header.Get(activator.HeaderError) != activator.CodeQuiet {
			err = fmt.Errorf("status %d: %v %s", res.Status, res.Header, res.Body)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s does not know %s: %v\n%s", c.name, service, err, logOf(service, 40))
	}
}

type submitted struct {
	name       string
	generation uint64
}

// submit applies services without waiting, and deletes them at the end.
func submit(t *testing.T, hcl string) []submitted {
	t.Helper()
	sub, err := stack.Agent.Submit(t.Context(), hcl)
	if err != nil {
		t.Fatalf("submit: %v\n%s", err, hcl)
	}
	var out []submitted
	for _, s := range sub.Services {
		out = append(out, submitted{s.Name, s.Generation})
		if s.Generation == 1 {
			t.Cleanup(func() { remove(t, s.Name) })
		}
	}
	return out
}

// remove deletes a service at the end of a test, and shows what happened to it in
// one that failed.
func remove(t *testing.T, name string) {
	if t.Failed() {
		t.Logf("the agent's log about %s:\n%s\nIn Nomad:\n%s", name, logOf(name, 60), tasksOf(name))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := stack.Agent.Delete(ctx, name); err != nil {
		t.Errorf("delete %s: %v\n%s", name, err, logOf(name, 40))
	}
}

// logOf returns the agent's last lines that name a service, without readers' requests.
func logOf(name string, n int) string {
	lines := slices.DeleteFunc(strings.Split(stack.Agent.Tail(100_000), "\n"),
		func(line string) bool {
			return !strings.Contains(line, name) || strings.Contains(line, "wadi.api: request: method=GET")
		})
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// tasksOf says what Nomad tells of the tasks of a service's instances.
func tasksOf(name string) string {
	jobs, _, err := stack.Nomad.Jobs().PrefixList(name + "-0")
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, j := range jobs {
		allocs, _, err := stack.Nomad.Jobs().Allocations(j.ID, true, nil)
		if err != nil {
			return err.Error()
		}
		for _, a := range allocs {
			fmt.Fprintf(&b, "%s %.8s desired %s, is %s\n", j.ID, a.ID, a.DesiredStatus, a.ClientStatus)
			for task, st := range a.TaskStates {
				for _, e := range st.Events {
					fmt.Fprintf(&b, "  %s %s: %s: %s\n", time.Unix(0, e.Time).UTC().Format("15:04:05.000"), task, e.Type, e.DisplayMessage)
				}
			}
		}
	}
	return b.String()
}

// scaleByHand sets a revision's count as somebody in Nomad does.
func scaleByHand(t *testing.T, revision string, count int) {
	t.Helper()
	_, _, err := stack.Nomad.Jobs().Scale(revision, wadi.GroupInstance, &count, "by hand", false, nil, nil)
	if err != nil {
		t.Fatalf("scale %s to %d by hand: %v", revision, count, err)
	}
}

// toZero takes a revision that gets no requests to zero by hand, and waits until no
// instance is left.
func toZero(t *testing.T, revision string) {
	t.Helper()
	scaleByHand(t, revision, 0)
	if err := stack.WaitGone(t.Context(), revision, waitLong); err != nil {
		t.Fatalf("to zero: %v\n%s", err, tasksOf(revision))
	}
}

// wakes are Nomad's indexes of the scalings of a revision that a request asked for.
// Nomad keeps the latest twenty scalings.
func wakes(t *testing.T, revision string) []uint64 {
	t.Helper()
	st, _, err := stack.Nomad.Jobs().ScaleStatus(revision, nil)
	if err != nil {
		t.Fatalf("read scale status of %s: %v", revision, err)
	}
	var out []uint64
	for _, e := range st.TaskGroups[wadi.GroupInstance].Events { // Newest first.
		if strings.Contains(e.Message, "woken by a request") {
			out = append(out, e.CreateIndex)
		}
	}
	return out
}

// wantStatus fails the test if the answer has another status.
func wantStatus(t *testing.T, res harness.Response, want int) {
	t.Helper()
	if res.Status != want {
		t.Fatalf("got status %d, want %d; after %v:\n%v\n%s", res.Status, want, res.Took, res.Header, res.Body)
	}
}

// wantFrom fails the test if the answer is not 200 and of the revision.
func wantFrom(t *testing.T, res harness.Response, revision string) {
	t.Helper()
	wantStatus(t, res, 200)
	if got := res.Header.Get("Hello-Revision"); got != revision {
		t.Errorf("got an answer of %q, want %s:\n%v\n%s", got, revision, res.Header, res.Body)
	}
}

// eventually waits until try is nil, and fails the test if it does not become so.
func eventually(t *testing.T, within time.Duration, try func() error) {
	t.Helper()
	if err := harness.Eventually(t.Context(), within, try); err != nil {
		t.Fatal(err)
	}
}

// must fails the test on an error.
func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
