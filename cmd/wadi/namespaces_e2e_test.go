//go:build e2e && linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/nomad/nomadtest"
	"github.com/wadi-run/wadi/internal/policies"
)

const namespacedService = `service %q {
  namespace = %[2]q
  network   = "host"
  mesh      = "off"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
    }
  }
}
`

// An agent whose token has rights in only one Nomad namespace starts and leads. It sees
// services there, and those of another namespace once it gets the right.
func TestCommand_SomeNamespaces(t *testing.T) {
	bin, err := filepath.Abs("../../bin/wadi")
	if err != nil {
		t.Fatal(err)
	}
	server, kv := nomadtest.Start(t), consultest.StartAgent(t, false)
	server.Namespace("team", "foreign")
	rules := func(namespaces ...string) string {
		return policies.Nomad(policies.Options{Namespaces: namespaces}).String()
	}
	server.Allow("wadi", rules("team"))
	ports, err := freeport.Ports(4)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, log := filepath.Join(dir, "wadi.hcl"), filepath.Join(dir, "wadi.log")
	hcl := fmt.Sprintf(`name      = "one"
advertise = "127.0.0.1"
http { address = "127.0.0.1:%d" }
metrics { address = "127.0.0.1:%d" }
activator { address = "127.0.0.1:%d" }
gateway { address = "127.0.0.1:%d" }
queue_proxy {
  driver = "raw_exec"
  config { command = "queue-proxy" }
}
nomad {
  address = %q
  token   = %q
}
consul { address = %q }
`, ports[0], ports[1], ports[2], ports[3], server.URL, server.Token("wadi"), kv.URL)
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(bin, "agent", "-config", file)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log)
			t.Logf("the agent's log:\n%s", text)
		}
	})
	c, err := api.New(api.Config{Address: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), Token: nomadtest.Management})
	if err != nil {
		t.Fatal(err)
	}
	within := func(what string, try func() error) {
		t.Helper()
		late := time.Now().Add(time.Minute)
		for err := try(); err != nil; err = try() {
			if time.Now().After(late) {
				t.Fatalf("%s: %v", what, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	within("lead", func() error {
		if _, err := c.Leader(t.Context()); err != nil {
			return err
		}
		return c.Health(t.Context())
	})
	submit := func(name, namespace string) {
		t.Helper()
		_, err := c.Apply(t.Context(), api.Submission{Files: []api.File{{Name: "a.hcl", Source: fmt.Sprintf(namespacedService, name, namespace)}}})
		if err != nil {
			t.Fatalf("submit to %s: %v", namespace, err)
		}
	}
	// Nothing can be placed here; the status that says so proves that the agent sees it.
	seen := func(name string) error {
		s, err := c.Service(t.Context(), name)
		if err == nil && !strings.Contains(fmt.Sprint(s.Status), "no node") {
			err = fmt.Errorf("its status is %+v", s.Status)
		}
		return err
	}
	submit("ours", "team")
	within("see a service where it has the right", func() error { return seen("ours") })
	submit("away", "foreign")
	within("say that it lacks a right", func() error {
		text, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(text), "namespace=foreign") {
			err = fmt.Errorf("nothing is said of the namespace")
		}
		return err
	})
	server.Allow("wadi", rules("team", "foreign"))
	within("see a service where it has got the right", func() error { return seen("away") })
}
