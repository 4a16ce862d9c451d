//go:build e2e

package mesh_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Three agents as a default installation has them, each in its own network and with its
// API on the same loopback address: followers answer reads that need the leader, without
// any configuration.
func TestFollowers_AskTheLeader(t *testing.T) {
	deploy(t, hello("asked", options{initial: 1, min: 1}))
	nomadAddr, consulAddr := relay(t, stack.Cluster.NomadAddr), relay(t, stack.Cluster.ConsulAddr)
	var followers []*harness.Agent
	for i, c := range []*caller{callerA, callerB} {
		a := inNetworkOf(t, c, fmt.Sprintf("wadi-apart-%d", i+1), nomadAddr, consulAddr)
		must(t, "start "+a.Name, a.Start(t.Context()))
		t.Cleanup(func() { must(t, "stop "+a.Name, a.Stop(context.WithoutCancel(t.Context()))) })
		followers = append(followers, a)
	}
	for _, a := range followers {
		must(t, "wait for "+a.Name, a.WaitLeader(t.Context()))
		eventually(t, waitLong, func() error {
			l, err := a.Client.Leader(t.Context())
			if err == nil && l.Name != stack.Agent.Name {
				err = fmt.Errorf("got leader %q, want %s", l.Name, stack.Agent.Name)
			}
			return err
		})
		eventually(t, waitLong, func() error { // It gets its certificate soon.
			_, err := a.Client.Decisions(t.Context(), "asked")
			return err
		})
		for _, args := range [][]string{{"explain", "asked"}, {"events", "-service", "asked"}} {
			eventually(t, waitLong, func() error {
				ran, err := a.Wadi(t.Context(), t.TempDir(), args...)
				if err != nil || ran.Code != 0 || !strings.Contains(ran.Stdout, "asked") {
					return fmt.Errorf("%s: wadi %s: %v (%v)", a.Name, strings.Join(args, " "), ran, err)
				}
				return nil
			})
		}
	}

	// Only agents get an answer.
	listeners, _, err := stack.Consul.Catalog().Service(wadi.ServiceActivator, "", nil)
	must(t, "find the mesh listeners", err)
	i := slices.IndexFunc(listeners, func(l *consulapi.CatalogService) bool { return strings.HasSuffix(l.ServiceID, ":"+stack.Agent.Name) })
	if i < 0 {
		t.Fatalf("no mesh listener of the leader among %d", len(listeners))
	}
	addr := net.JoinHostPort(cmp.Or(listeners[i].ServiceAddress, listeners[i].Address), fmt.Sprint(listeners[i].ServicePort))
	for _, name := range []string{wadi.ServiceActivator, wadi.ServiceActivatorGRPC, wadi.ServiceGateway, "caller-b"} {
		conn, err := certsOf(t, name).Dial(t.Context(), addr, wadi.ServiceActivator)
		must(t, "dial as "+name, err)
		_ = conn.SetDeadline(time.Now().Add(requestTimeout))
		res := ask(t, conn, "/v1/service/asked/decisions", "Wadi-Forwarded: me\r\n")
		_ = conn.Close()
		if (res.Status == 200) != (name == wadi.ServiceActivator) {
			t.Errorf("%s got %d: %s", name, res.Status, res.Body)
		}
	}

	// An agent with a follower's name on another machine is refused, though its API has the
	// same address.
	name := followers[0].Name
	must(t, "stop "+followers[1].Name, followers[1].Stop(t.Context()))
	twin := inNetworkOf(t, callerB, "wadi-twin", nomadAddr, consulAddr, fmt.Sprintf("name = %q\n", name))
	must(t, "start the twin", twin.Start(t.Context()))
	t.Cleanup(func() { must(t, "stop the twin", twin.Stop(context.WithoutCancel(t.Context()))) })
	select {
	case <-twin.Done():
	case <-time.After(waitLong):
		t.Fatalf("the twin of %s goes on: %s", name, twin.Tail(20))
	}
	if tail := twin.Tail(50); twin.ExitCode() != 1 || !strings.Contains(tail, fmt.Sprintf("an agent named %q is alive", name)) {
		t.Errorf("the twin of %s ended with %d: %s", name, twin.ExitCode(), tail)
	}
}

// inNetworkOf configures an agent in the network of a caller.
func inNetworkOf(t *testing.T, c *caller, name, nomadAddr, consulAddr string, more ...string) *harness.Agent {
	t.Helper()
	alloc, _, err := stack.Nomad.Allocations().Info(c.Alloc, nil)
	must(t, "read the caller", err)
	ip := alloc.NetworkStatus.Address
	a, err := stack.NewAgent(name, fmt.Sprintf(`advertise = %q
http {
  address = %q
}
metrics {
  address = %q
}
activator {
  address = %q
}
nomad {
  address = %q
}
consul {
  address = %q
}
`, ip, stack.Agent.API, net.JoinHostPort(ip, "24748"), net.JoinHostPort(ip, "24750"), nomadAddr, consulAddr)+strings.Join(more, ""))
	must(t, "configure "+name, err)
	a.Netns, a.API = c.Netns, stack.Agent.API
	a.Client, err = api.New(api.Config{Address: "http://" + a.API, HTTPClient: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return harnesstest.DialIn(ctx, c.Netns, addr)
		},
	}}})
	must(t, "make its client", err)
	return a
}

// relay makes an address on this machine's loopback reachable from bridge networks, and
// returns its base URL there.
func relay(t *testing.T, base string) string {
	t.Helper()
	to, err := netip.ParseAddrPort(strings.TrimPrefix(base, "http://"))
	must(t, "read an address", err)
	l, err := net.Listen("tcp", net.JoinHostPort(stack.Cluster.HostIP, "0"))
	must(t, "listen", err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", to.String())
				if err != nil {
					return
				}
				defer out.Close()
				go func() {
					defer in.Close()
					_, _ = io.Copy(in, out)
				}()
				_, _ = io.Copy(out, in)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
