package harnesstest

import "fmt"

// Hello renders a service of the example app, in the host's network and without the
// mesh. Scale is the inside of its scale block, more stands beside that.
func Hello(name, scale, more string) string {
	return fmt.Sprintf(`service %q {
  network = "host"
  mesh    = "off"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      resources {
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
`, name, scale, more)
}
