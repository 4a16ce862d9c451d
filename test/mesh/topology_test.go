//go:build e2e

package mesh_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// topology is what Consul's UI draws of a service.
type topology struct {
	Upstreams, Downstreams []struct {
		Name      string
		Intention struct{ Allowed bool }
	}
}

// topologyOf sends the UI's request.
func topologyOf(t *testing.T, service string) (top topology) {
	t.Helper()
	res, err := http.Get(stack.Cluster.ConsulAddr + "/v1/internal/ui/service-topology/" + service + "?kind=")
	must(t, "read the topology of "+service, err)
	defer res.Body.Close()
	must(t, "read the topology of "+service, json.NewDecoder(res.Body).Decode(&top))
	return top
}

// Consul's UI shows a service among its callers' upstreams, also at zero; when it runs,
// the UI shows who calls it and who may.
func TestTopology(t *testing.T) {
	t.Parallel()
	deploy(t, hello("shown", options{more: "intentions {\n    allow = [\"caller-a\"]\n  }"}))
	wantCalls := func(caller string, allowed bool) {
		t.Helper()
		eventually(t, waitLong, func() error {
			top := topologyOf(t, caller)
			for _, u := range top.Upstreams {
				if u.Name == "shown" {
					if u.Intention.Allowed != allowed {
						return fmt.Errorf("%s may call shown: %t, want %t", caller, u.Intention.Allowed, allowed)
					}
					return nil
				}
			}
			return fmt.Errorf("shown is not among the upstreams of %s: %+v", caller, top.Upstreams)
		})
	}
	wantCalls("caller-a", true)
	wantCalls("caller-b", false)
	wantFrom(t, callerA.Get(t, "shown", "/"), "shown-00001")
	eventually(t, waitLong, func() error {
		var callers []string
		for _, d := range topologyOf(t, "shown").Downstreams {
			callers = append(callers, d.Name)
		}
		for _, want := range []string{"caller-a", "caller-b"} {
			if !slices.Contains(callers, want) {
				return fmt.Errorf("Consul shows the callers %q, want %s among them", callers, want)
			}
		}
		return nil
	})
}
