package main

import (
	"fmt"
	"strings"
)

// service is one service of the mix.
type service struct {
	name    string
	app     string // corners, hello or grpcecho.
	mesh    bool   // Bridge network and Envoy; else the host's network.
	min     int    // 1: its queue-proxy lives through the run, and is judged. 0: it goes to zero in each rest.
	limit   int    // concurrency.limit; 0: none.
	env     string // Of the app.
	more    string // More of the service block.
	initial int
}

// The services. Each kind of traffic meets one that always runs, of which the queue-proxy is
// judged, and one that goes to zero and back.
const (
	steadyHost, zeroHost = "steady-host", "zero-host"
	steadyMesh, zeroMesh = "steady-mesh", "zero-mesh"
	steadyGRPC, zeroGRPC = "steady-grpc", "zero-grpc"
	limited              = "limited" // One request at once in an instance.
	front                = "front"   // Calls zeroMesh and steadyMesh through its Envoy.
	changing             = "changing"
)

// services are those that exist for the whole run.
func services(mesh bool) []service {
	all := []service{
		{name: steadyHost, app: "corners", min: 1},
		{name: zeroHost, app: "corners"},
		{name: limited, app: "corners", limit: 1, min: 1},
		changed(1),
	}
	if mesh {
		all = append(all,
			service{name: steadyMesh, app: "corners", mesh: true, min: 1},
			service{name: zeroMesh, app: "corners", mesh: true},
			service{name: steadyGRPC, app: "grpcecho", mesh: true, min: 1},
			service{name: zeroGRPC, app: "grpcecho", mesh: true},
			service{
				name: front, app: "hello", mesh: true, min: 1,
				env:  fmt.Sprintf("UPSTREAMS = \"%s=http://127.0.0.1:9191 %s=http://127.0.0.1:9192\"", zeroMesh, steadyMesh),
				more: fmt.Sprintf("upstream %q {\n    local_port = 9191\n  }\n  upstream %q {\n    local_port = 9192\n  }\n", zeroMesh, steadyMesh),
			})
	}
	return all
}

// changed is the service that gets a new revision in each cycle.
func changed(generation int) service {
	return service{name: changing, app: "hello", env: fmt.Sprintf("GENERATION = \"%d\"", generation), initial: 1, more: "retention {\n    keep = 3\n  }\n"}
}

// guest is a service that exists only for one cycle.
func guest(cycle int) service { return service{name: fmt.Sprintf("guest-%d", cycle), app: "hello"} }

// hcl renders a service.
func (s service) hcl() string {
	network, mesh := "host", "off"
	if s.mesh {
		network, mesh = "bridge", "envoy"
	}
	protocol, probe := "http1", `http = "/healthz"`
	if s.app == "grpcecho" {
		protocol, probe = "grpc", `grpc = ""`
	}
	return fmt.Sprintf(`service %q {
  network  = %q
  mesh     = %q
  protocol = %q
  instance {
    task "app" {
      driver = "raw_exec"
      config {
        command = %q
      }
      env {
        %s
      }
      resources {
        cpu    = 20
        memory = 64
      }
    }
  }
  probe {
    %s
  }
  concurrency {
    limit = %d
  }
  queue {
    timeout = "4m"
  }
  scale {
    min     = %d
    max     = 3
    initial = %d
    window  = "6s"
  }
  %s
}
`, s.name, network, mesh, protocol, s.app, s.env, probe, s.limit, s.min, max(s.min, s.initial), s.more)
}

// render renders services as one file.
func render(all []service) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(s.hcl())
	}
	return b.String()
}
