//go:build e2e

package docker_test

import (
	"strings"
	"testing"
)

// fromZero is a service that has no instance until it is called, and none soon after.
const fromZero = "scale {\n    initial = 0\n    window  = \"6s\"\n  }\n"

// TestNetworks wakes a service from zero in each kind of network, and lets it go back.
func TestNetworks(t *testing.T) {
	t.Parallel()
	for _, s := range []service{{name: "hosted", network: "host"}, {name: "bridged"}, {name: "meshed", mesh: "envoy"}} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.image, s.more = "hello", fromZero
			deploy(t, s)
			res := stack.Get(t, s.name, "/")
			if res.Status != 200 || !strings.HasPrefix(res.Body, "hello from "+s.name+"-00001") {
				t.Fatalf("answer %d %q\n%s", res.Status, res.Body, stack.TasksOf(s.name))
			}
			t.Logf("cold answer after %v (%s)", res.Took, res.Header.Get("Server-Timing"))
			stack.ToZero(t, s.name+"-00001")
		})
	}
}

// TestMesh wakes a service from zero by a caller in the mesh: three containers call through
// two Envoys in containers.
func TestMesh(t *testing.T) {
	t.Parallel()
	deploy(t, service{name: "callee", mesh: "envoy", image: "hello", more: "visibility = \"mesh\"\n  " + fromZero})
	deploy(t, service{
		name: "caller", mesh: "envoy", image: "hello", task: "env {\n  UPSTREAM = \"http://127.0.0.1:9191\"\n}\n",
		more: "upstream \"callee\" {\n    local_port = 9191\n  }\n",
	})
	if got := ask(t, "caller", "/call/"); !strings.HasPrefix(got, "hello from callee-00001") {
		t.Errorf("got %q", got)
	}
	user, err := engine.Docker(t.Context(), "inspect", "--format", "{{.Path}} {{.Args}}", container(t, "caller-00001", "connect-proxy-caller"))
	if err != nil || !strings.HasPrefix(user, "/envoy [-c /secrets/envoy_bootstrap.json") {
		t.Errorf("Envoy's container runs %q (%v), want Nomad's default", user, err)
	}
}
