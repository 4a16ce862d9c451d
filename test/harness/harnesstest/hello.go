package harnesstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Hello renders a service of the example app, in the host's network and without the
// mesh. Scale is the inside of its scale block, more stands beside that.
func Hello(name, scale, more string) string {
	return hello(name, "host", "off", nil, scale, more)
}

// HelloInMesh is Hello in the mesh, with an environment of the app.
func HelloInMesh(name string, env map[string]string, scale, more string) string {
	return hello(name, "bridge", "envoy", env, scale, more)
}

func hello(name, network, mesh string, env map[string]string, scale, more string) string {
	var vars strings.Builder
	if len(env) > 0 {
		vars.WriteString("      env {\n")
		for _, k := range slices.Sorted(maps.Keys(env)) {
			fmt.Fprintf(&vars, "        %s = %q\n", k, env[k])
		}
		vars.WriteString("      }\n")
	}
	return fmt.Sprintf(`service %q {
  network = %q
  mesh    = %q
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
%s      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  probe {
    http = "/healthz"
  }
  scale {
    %s
  }
  %s
}
`, name, network, mesh, vars.String(), scale, more)
}
