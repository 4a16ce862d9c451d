//go:build e2e

package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"
	"golang.org/x/sys/unix"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/test/harness"
)

// callees are the upstreams of the callers, each at its own port in every caller's
// network.
var callees = []string{
	"leaves",
	"flap", "chain-b", "foreign", "foreign-late", "down-1", "down-2", "down-12",
	"no-envoy", "no-proxy", "long", "drip", "rotate", "rotate-act", "away", "stale",
	"tagged", "canary-tagged", "claims", "nap", "guarded", "ruled", "toggled",
	"grpc-echo", "grpc-chain", "grpc-slow", "h2c-hello", "shown", "again", "counted", "seen", "seen-h2c",
	"exits", "shielded", "ended",
}

// portOf is the port of a caller's Envoy for calls of a service.
func portOf(callee string) int {
	i := slices.Index(callees, callee)
	if i < 0 {
		panic(callee + " is not in callees")
	}
	return 9201 + i
}

// caller is a mesh service that Wadi does not manage. The tests send requests from inside
// its network.
type caller struct {
	name  string // Its identity.
	alloc string
	netns string // File.
}

// startCallers runs two callers, and waits until their Envoys listen.
func startCallers(ctx context.Context) (a, b *caller, err error) {
	var groups strings.Builder
	for _, name := range []string{"caller-a", "caller-b"} {
		var upstreams strings.Builder
		for _, c := range callees {
			fmt.Fprintf(&upstreams, upstreamBlock, c, portOf(c))
		}
		fmt.Fprintf(&groups, callerGroup, name, name, upstreams.String())
	}
	job, err := stack.Nomad.Jobs().ParseHCL(fmt.Sprintf("job \"callers\" {\n%s}\n", groups.String()), true)
	if err != nil {
		return nil, nil, fmt.Errorf("parse job: %w", err)
	}
	if _, _, err = stack.Nomad.Jobs().Register(job, (&nomad.WriteOptions{}).WithContext(ctx)); err != nil {
		return nil, nil, fmt.Errorf("register job: %w", err)
	}
	if a, err = findCaller(ctx, "caller-a"); err != nil {
		return nil, nil, err
	}
	b, err = findCaller(ctx, "caller-b")
	return a, b, err
}

// findCaller waits until a caller's Envoy has all its listeners.
func findCaller(ctx context.Context, name string) (*caller, error) {
	c := &caller{name: name}
	err := harness.Eventually(ctx, waitLong, func() error {
		allocs, err := stack.Allocs(ctx, "callers")
		if err != nil {
			return err
		}
		for _, a := range allocs {
			if a.TaskGroup == name {
				c.alloc, c.netns = a.ID, "/var/run/netns/"+a.ID
			}
		}
		if c.alloc == "" {
			return errors.New("not placed")
		}
		for _, callee := range callees {
			conn, err := c.dial(ctx, fmt.Sprintf("127.0.0.1:%d", portOf(callee)))
			if err != nil {
				return err
			}
			_ = conn.Close() // Nothing was sent.
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for %s: %w", name, err)
	}
	return c, nil
}

// dial connects to an address in the caller's network.
func (c *caller) dial(ctx context.Context, addr string) (conn net.Conn, err error) {
	return dialIn(ctx, c.netns, addr)
}

// dialIn connects to an address in a network namespace. A socket stays in the namespace in
// which it was made.
func dialIn(ctx context.Context, netns, addr string) (net.Conn, error) {
	there, err := os.Open(netns)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer there.Close()
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		here, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			done <- result{err: err}
			runtime.UnlockOSThread()
			return
		}
		defer here.Close()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("enter network namespace: %w", err)}
			runtime.UnlockOSThread()
			return
		}
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp4", addr)
		// A thread that can't switch back ends with this goroutine.
		if unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// client returns an HTTP client whose requests come from the caller's network. It keeps
// connections.
func (c *caller) client(t *testing.T) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 512, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return c.dial(ctx, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// url of a service for the caller.
func (c *caller) url(callee, path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", portOf(callee), path)
}

// send sends one request on a connection of its own.
func (c *caller) send(t *testing.T, method, callee, path string, header http.Header, body io.Reader) (harness.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url(callee, path), body)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	req.Close = true
	return harness.Do(c.client(t), req)
}

// get sends a request to a service, and fails the test if no answer comes.
func (c *caller) get(t *testing.T, callee, path string) harness.Response {
	t.Helper()
	res, err := c.send(t, http.MethodGet, callee, path, nil, nil)
	if err != nil {
		t.Fatalf("%s calls %s%s: %v", c.name, callee, path, err)
	}
	return res
}

// admin sends a request to the admin API of the caller's Envoy.
func (c *caller) admin(ctx context.Context, path string) (string, error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		for port := 19001; port < 19009; port++ { // Nomad chose one of these.
			if conn, err = c.dial(ctx, fmt.Sprintf("127.0.0.2:%d", port)); err == nil {
				break
			}
		}
		return conn, err
	}}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := harness.Do(&http.Client{Transport: tr}, req)
	return res.Body, err
}

// errorCounters lists the Envoy's error counters for calls of a service.
func (c *caller) errorCounters(ctx context.Context, service string) string {
	stats, err := c.admin(ctx, "/stats?usedonly&filter="+url.QueryEscape(
		`[.~]`+service+`\..*(upstream_cx_connect_(fail|timeout)|none_healthy|no_cluster|ejections_active|rq_timeout|overflow|upstream_rq_retry|ssl.fail_verify|ssl.connection_error)`))
	if err != nil {
		return err.Error()
	}
	var some []string
	for line := range strings.Lines(stats) {
		if line = strings.TrimSpace(line); !strings.HasSuffix(line, ": 0") {
			some = append(some, line)
		}
	}
	return strings.Join(some, "\n    ")
}

// forgot returns an error while the caller's Envoy knows an address of a revision.
func (c *caller) forgot(ctx context.Context, revision string) error {
	clusters, err := c.admin(ctx, "/clusters")
	if err != nil {
		return err
	}
	for line := range strings.Lines(clusters) {
		name, rest, _ := strings.Cut(line, "::") // Target 1 is the activator.
		addr, _, _ := strings.Cut(rest, "::")
		if _, _, err := net.SplitHostPort(addr); err == nil && strings.HasPrefix(name, "failover-target~0~"+revision+".") {
			return fmt.Errorf("%s still knows %s at %s", c.name, revision, addr)
		}
	}
	return nil
}

const upstreamBlock = `            upstreams {
              destination_name = %q
              local_bind_port  = %d
            }
`

const callerGroup = `  group %q {
    network {
      mode = "bridge"
    }
    service {
      name = %q
      port = "8080"
      connect {
        sidecar_service {
          disable_default_tcp_check = true
          proxy {
%s          }
        }
        sidecar_task {
` + devcluster.EnvoyTask + `          resources {
            cpu    = 20
            memory = 256 # Hundreds of calls wait in it.
          }
        }
      }
    }
    task "app" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args    = ["infinity"]
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
`
