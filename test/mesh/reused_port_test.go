//go:build e2e

package mesh_test

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// A port is reused by another instance while Consul still lists the old one. A caller gets
// the right answer, whichever instance listens there now.
func TestReusedPort_OfAnotherInstance(t *testing.T) {
	t.Parallel()
	deploy(t, hello("stale", options{initial: 1, min: 1, env: map[string]string{"N": "1"}}))
	deploy(t, hello("stale", options{initial: 1, min: 1, env: map[string]string{"N": "2"}, more: `traffic {
    revision = "stale-00001"
    percent  = 100
  }
  traffic {
    revision = "stale-00002"
    tag      = "next"
  }`})+hello("stale-other", options{initial: 1, min: 1}))
	for _, tt := range []struct{ what, revision string }{
		{"another revision", "stale-00002"}, {"another service", "stale-other-00001"},
	} {
		waitDirect(t, callerA, "stale")
		undo := misregister(t, tt.what, "stale", "stale-00001", envoyOf(t, tt.revision))
		before := callerA.retries(t, "stale")
		// Until Envoy learns of it, no call goes to the wrong instance.
		eventually(t, waitLong, func() error {
			// An Envoy retries at most three calls at once, so there is one at a time.
			for range 100 {
				wantFrom(t, callerA.Get(t, "stale", "/"), "stale-00001")
			}
			if n := callerA.retries(t, "stale") - before; n < 20 {
				return fmt.Errorf("%s: %d calls were tried again, want at least 20:\n%s", tt.what, n, callerA.ErrorCounters(t.Context(), "stale"))
			}
			return nil
		})
		undo()
	}
}

// retries counts how often the caller's Envoy has retried calls of a service.
func (c *caller) retries(t *testing.T, service string) int {
	t.Helper()
	stats, err := c.Admin(t.Context(), "/stats?filter="+url.QueryEscape(`cluster\.([^.]+\.)?`+service+`\..*upstream_rq_retry$`))
	must(t, "ask Envoy", err)
	n := 0
	for line := range strings.Lines(stats) {
		_, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		one, err := strconv.Atoi(value)
		must(t, "read "+line, err)
		n += one
	}
	return n
}

// envoyOf is the Envoy of a revision's only instance.
func envoyOf(t *testing.T, revision string) (envoy *consul.ServiceEntry) {
	t.Helper()
	service, _, _ := wadi.SplitRevisionID(revision)
	eventually(t, waitLong, func() error {
		found, _, err := stack.Consul.Health().Connect(service, "", true, nil)
		for _, e := range found {
			if e.Service.Meta["revision"] == revision {
				envoy = e
				return nil
			}
		}
		return fmt.Errorf("no Envoy of %s among %d of %s: %w", revision, len(found), service, err)
	})
	return envoy
}

// misregister registers, at an Envoy's address, an instance of a revision in Consul. It
// lasts until undo or the end of the test.
func misregister(t *testing.T, what, service, revision string, at *consul.ServiceEntry) (undo func()) {
	t.Helper()
	host, port, err := net.SplitHostPort(addrOf(at))
	must(t, "split address", err)
	n, err := strconv.Atoi(port)
	must(t, "split address", err)
	_, err = stack.Consul.Catalog().Register(&consul.CatalogRegistration{
		Node: "stale-node", Address: host,
		Service: &consul.AgentService{
			Kind: consul.ServiceKindConnectProxy, ID: "stale-" + service, Service: service + "-sidecar-proxy",
			Address: host, Port: n, Meta: map[string]string{"revision": revision},
			Proxy: &consul.AgentServiceConnectProxyConfig{DestinationServiceName: service},
		},
	}, nil)
	must(t, "register "+what, err)
	done := false
	undo = func() {
		if done {
			return
		}
		done = true
		_, err := stack.Consul.Catalog().Deregister(&consul.CatalogDeregistration{Node: "stale-node"}, nil)
		must(t, "deregister "+what, err)
	}
	t.Cleanup(undo)
	return undo
}
