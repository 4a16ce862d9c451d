//go:build e2e

package nomad_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/nomad"
)

// usage checks a real Nomad's statistics of a task that burns a core and allocates memory.
func usage(t *testing.T, c *nomad.Client, w *nomad.Watcher) {
	const id = "burner-00001"
	job := parse(t, c, burnerHCL(id))
	if _, err := c.Register(t.Context(), "", job, 1, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Purge(t.Context(), "", "default", id) })
	deadline := time.Now().Add(3 * time.Minute)
	for {
		if time.Now().After(deadline) {
			t.Fatal("no usage within a minute")
		}
		time.Sleep(500 * time.Millisecond)
		eps, _ := w.Endpoints("", id)
		if len(eps) == 0 {
			continue
		}
		asked, err := c.RequestedResources(t.Context(), "default", eps[0].Instance, "web")
		if err != nil || asked != (nomad.Resources{CPU: 50, Memory: 64 << 20}) {
			t.Fatalf("asked %+v (%v), want 50 MHz and 64 MiB", asked, err)
		}
		u, err := c.Usage(t.Context(), "default", eps[0].Instance, "web")
		t.Logf("%+v %v", u, err)
		if err == nil && u.CPU > 2*asked.CPU && u.Memory > 1<<18 && u.Memory < 16<<20 {
			return // More than it requests: it is not limited.
		}
	}
}

func burnerHCL(id string) string {
	return `job "` + id + `" {
  datacenters = ["*"]
  meta { wadi_service = "burner" }
  update { max_parallel = 0 }
  group "instance" {
    count = 0
    task "web" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "while :; do :; done"]
      }
      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}`
}
