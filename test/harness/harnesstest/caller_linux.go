package harnesstest

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

// callTimeout bounds a request of a caller that is not meant to be long.
const callTimeout = WaitLong

// firstUpstream is the port of a caller's first callee.
const firstUpstream = 9201

// Caller is a mesh service that Wadi does not manage, with an Envoy of its own. The tests
// send requests from inside its network, straight to that Envoy: no app in between can
// change an answer.
type Caller struct {
	Name  string // Its identity.
	Alloc string
	Netns string // File.

	callees []string // Each at its own port in the caller's network.
}

// StartCallers runs a caller for each name, and waits until their Envoys listen for all
// callees.
func (s *Stack) StartCallers(ctx context.Context, callees []string, names ...string) ([]*Caller, error) {
	return s.StartCallersOn(ctx, "", callees, names...)
}

// StartCallersOn is StartCallers on one node of Nomad, by its name; empty: on any.
func (s *Stack) StartCallersOn(ctx context.Context, node string, callees []string, names ...string) ([]*Caller, error) {
	where := ""
	if node != "" {
		where = fmt.Sprintf("  constraint {\n    attribute = \"${node.unique.name}\"\n    value     = %q\n  }\n", node)
	}
	var groups strings.Builder
	for _, name := range names {
		var upstreams strings.Builder
		for i, c := range callees {
			fmt.Fprintf(&upstreams, upstreamBlock, c, firstUpstream+i)
		}
		fmt.Fprintf(&groups, callerGroup, name, name, upstreams.String())
	}
	job, err := s.Nomad.Jobs().ParseHCL(fmt.Sprintf("job \"callers\" {\n%s%s}\n", where, groups.String()), true)
	if err != nil {
		return nil, fmt.Errorf("parse job: %w", err)
	}
	if _, _, err = s.Nomad.Jobs().Register(job, (&nomad.WriteOptions{}).WithContext(ctx)); err != nil {
		return nil, fmt.Errorf("register job: %w", err)
	}
	var callers []*Caller
	for _, name := range names {
		c := &Caller{Name: name, callees: callees}
		if err := c.find(ctx, s); err != nil {
			return nil, fmt.Errorf("wait for %s: %w", name, err)
		}
		callers = append(callers, c)
	}
	return callers, nil
}

// find waits until the caller's Envoy has all its listeners.
func (c *Caller) find(ctx context.Context, s *Stack) error {
	return harness.Eventually(ctx, WaitLong, func() error {
		allocs, err := s.Allocs(ctx, "callers")
		if err != nil {
			return err
		}
		for _, a := range allocs {
			if a.TaskGroup == c.Name {
				c.Alloc, c.Netns = a.ID, "/var/run/netns/"+a.ID
			}
		}
		if c.Alloc == "" {
			return errors.New("not placed")
		}
		for _, callee := range c.callees {
			conn, err := c.Dial(ctx, c.Addr(callee))
			if err != nil {
				return err
			}
			_ = conn.Close() // Nothing was sent.
		}
		return nil
	})
}

// Addr is where the caller's Envoy listens for calls of a service.
func (c *Caller) Addr(callee string) string {
	i := slices.Index(c.callees, callee)
	if i < 0 {
		panic(callee + " is no callee of " + c.Name)
	}
	return fmt.Sprintf("127.0.0.1:%d", firstUpstream+i)
}

// Dial connects to an address in the caller's network.
func (c *Caller) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return DialIn(ctx, c.Netns, addr)
}

// DialIn connects to an address in a network namespace. A socket stays in the namespace in
// which it was made.
func DialIn(ctx context.Context, netns, addr string) (net.Conn, error) {
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

// Client returns an HTTP client whose requests come from the caller's network. It keeps
// connections.
func (c *Caller) Client(t testing.TB) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 512, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return c.Dial(ctx, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// URL of a service for the caller.
func (c *Caller) URL(callee, path string) string { return "http://" + c.Addr(callee) + path }

// Send sends one request on a connection of its own.
func (c *Caller) Send(t testing.TB, method, callee, path string, header http.Header, body io.Reader) (harness.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.URL(callee, path), body)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	req.Close = true
	return harness.Do(c.Client(t), req)
}

// Get sends a request to a service, and fails the test if no answer comes.
func (c *Caller) Get(t testing.TB, callee, path string) harness.Response {
	t.Helper()
	res, err := c.Send(t, http.MethodGet, callee, path, nil, nil)
	if err != nil {
		t.Fatalf("%s calls %s%s: %v", c.Name, callee, path, err)
	}
	return res
}

// Admin sends a request to the admin API of the caller's Envoy.
func (c *Caller) Admin(ctx context.Context, path string) (string, error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		for port := 19001; port < 19009; port++ { // Nomad chose one of these.
			if conn, err = c.Dial(ctx, fmt.Sprintf("127.0.0.2:%d", port)); err == nil {
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

// ErrorCounters lists the Envoy's error counters for calls of a service.
func (c *Caller) ErrorCounters(ctx context.Context, service string) string {
	stats, err := c.Admin(ctx, "/stats?usedonly&filter="+url.QueryEscape(
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

// Forgot returns an error while the caller's Envoy knows an address of a revision.
func (c *Caller) Forgot(ctx context.Context, revision string) error {
	clusters, err := c.Admin(ctx, "/clusters")
	if err != nil {
		return err
	}
	if err := KnownAddress(clusters, revision); err != nil {
		return fmt.Errorf("%s %w", c.Name, err)
	}
	return nil
}

// KnownAddress returns an error if an Envoy knows an address of a revision, by what its
// admin API says of its clusters.
func KnownAddress(clusters, revision string) error {
	for line := range strings.Lines(clusters) {
		name, rest, _ := strings.Cut(line, "::") // Target 1 is the activator.
		addr, _, _ := strings.Cut(rest, "::")
		if _, _, err := net.SplitHostPort(addr); err == nil && strings.HasPrefix(name, "failover-target~0~"+revision+".") {
			return fmt.Errorf("still knows %s at %s", revision, addr)
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
