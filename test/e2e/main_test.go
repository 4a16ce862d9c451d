//go:build e2e

// Package e2e_test proves what Wadi promises, on a real Nomad, Consul and Envoy.
//
// All tests share one cluster and one agent. A test has a service of its own and
// removes it; one that stops or breaks a shared part must not call t.Parallel, and
// leaves the part as it found it.
package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// stack is the one that all tests share.
var stack *harness.Stack

func TestMain(m *testing.M) {
	bin := flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")
	flag.Parse()
	os.Exit(run(m, *bin))
}

func run(m *testing.M, bin string) int {
	ctx := context.Background()
	// The tests wait more than they work.
	if err := flag.Set("test.parallel", "5"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if stack, err = harness.Start(ctx, harness.Options{Bin: bin}); err != nil {
		fmt.Fprintln(os.Stderr, "start stack:", err)
		return 1
	}
	code := m.Run()
	stop, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := stack.Stop(stop); err != nil {
		fmt.Fprintln(os.Stderr, "stop stack:", err)
		return 1
	}
	return code
}

// options are what a test wants different in its service of the example app. The
// zero value is the cheapest: host network, no mesh, to zero after six seconds.
type options struct {
	mesh     bool              // Bridge network and Envoy.
	command  string            // Empty: hello.
	args     []string          // Of command.
	env      map[string]string // Of the app.
	window   string            // Empty: 6s.
	limit    int               // concurrency.limit; 0: none.
	target   float64           // Of the metric concurrency; 0: the default.
	min      int
	max      int    // 0: the agent's.
	queue    string // Inside of the queue block.
	timeout  string // Inside of the timeout block.
	scale    string // More of the scale block.
	instance string // More of the instance block.
	service  string // More of the service block.
}

// hello renders a service of the example app.
func hello(name string, o options) string {
	network, mesh := "host", "off"
	if o.mesh {
		network, mesh = "bridge", "envoy"
	}
	var env strings.Builder
	for _, k := range slices.Sorted(maps.Keys(o.env)) {
		fmt.Fprintf(&env, "        %s = %q\n", k, o.env[k])
	}
	metric := ""
	if o.target > 0 {
		metric = fmt.Sprintf("metric \"concurrency\" {\n      target = %g\n    }", o.target)
	}
	var args []string
	for _, a := range o.args {
		args = append(args, strconv.Quote(a))
	}
	return fmt.Sprintf(`service %q {
  network = %q
  mesh    = %q
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = %q
        args    = [%s]
      }
      env {
%s      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
    %s
  }
  probe {
    http = "/healthz"
  }
  concurrency {
    limit = %d
  }
  queue {
    %s
  }
  timeout {
    %s
  }
  scale {
    min    = %d
    max    = %d
    window = %q
    %s
    %s
  }
  %s
}
`, name, network, mesh, or(o.command, "hello"), strings.Join(args, ", "), env.String(), o.instance, o.limit, o.queue, o.timeout,
		o.min, o.max, or(o.window, "6s"), o.scale, metric, o.service)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// deploy applies services, waits until they are ready, and deletes them at the end.
func deploy(t *testing.T, hcl string) {
	t.Helper()
	names := submit(t, hcl)
	for _, name := range names {
		s, err := stack.Agent.Client.Service(t.Context(), name)
		if err == nil {
			err = stack.Agent.WaitReady(t.Context(), name, s.Generation)
		}
		if err != nil {
			t.Fatalf("deploy %s: %v", name, err)
		}
	}
}

// submit applies services without waiting, and deletes them at the end. It returns
// their names.
func submit(t *testing.T, hcl string) []string {
	t.Helper()
	sub, err := stack.Agent.Submit(t.Context(), hcl)
	if err != nil {
		t.Fatalf("submit: %v\n%s", err, hcl)
	}
	var names []string
	for _, s := range sub.Services {
		names = append(names, s.Name)
		if s.Generation == 1 {
			t.Cleanup(func() { remove(t, s.Name) })
		}
	}
	return names
}

// remove deletes a service at the end of a test, and shows what happened to it in
// one that failed.
func remove(t *testing.T, name string) {
	if t.Failed() {
		t.Logf("the agent's log about %s:\n%s\nIn Nomad:\n%s", name, logOf(name, 80), tasksOf(name))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
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

// get asks a service through the gateway, and fails the test if no answer comes.
func get(t *testing.T, service, path string) harness.Response {
	t.Helper()
	res, err := stack.Agent.Get(t.Context(), service, path)
	if err != nil {
		t.Fatalf("get %s%s: %v", service, path, err)
	}
	return res
}

// wantStatus fails the test if the answer has another status.
func wantStatus(t *testing.T, res harness.Response, want int) {
	t.Helper()
	if res.Status != want {
		t.Fatalf("got status %d, want %d; after %v:\n%v\n%s", res.Status, want, res.Took, res.Header, res.Body)
	}
}

// toZero waits until no instance of the revision is left.
func toZero(t *testing.T, revision string) {
	t.Helper()
	err := stack.WaitCount(t.Context(), revision, 60*time.Second, func(n int) bool { return n <= 0 })
	if err == nil {
		err = stack.WaitGone(t.Context(), revision, 60*time.Second)
	}
	if err != nil {
		t.Fatalf("to zero: %v", err)
	}
}

// client returns an HTTP client that keeps connections, and finds services at the
// gateway by their names.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 256, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, stack.Agent.Gateway)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// h2Client is as client, and speaks HTTP/2 without TLS.
func h2Client(t *testing.T) *http.Client {
	c := client(t)
	tr := c.Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetUnencryptedHTTP2(true)
	return c
}

// urlOf is a service's address for client.
func urlOf(service, path string) string { return "http://" + service + "." + harness.Domain + path }
