package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

const (
	caller = "web-00001"
	relay  = "relay-00001"
	vault  = "vault-00001"
)

// callers allows only some mesh services to call a service.
func (d *demo) callers(names ...string) string {
	if !d.mesh {
		return ""
	}
	return fmt.Sprintf("  intentions {\n    allow = [\"%s\"]\n  }\n", strings.Join(names, `", "`))
}

// meshHCL are three mesh services that are called by each other only: web always runs, may
// call relay and hello, and tries to call vault; relay calls hello; vault allows only
// relay.
func (d *demo) meshHCL() string {
	service := func(name, more, upstreams string, min int) string {
		return fmt.Sprintf(`service %q {
%s%s  instance {
    task "app" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      env {
        UPSTREAMS = %q
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  scale {
    initial = %d
    min     = %d
    max     = 1
    window  = "6s"
  }
}
`, name, d.network(), more, upstreams, min, min)
	}
	upstream := func(name string, port int) string {
		return fmt.Sprintf("  upstream %q {\n    local_port = %d\n  }\n", name, port)
	}
	return service("web", upstream("hello", 9191)+upstream("relay", 9192)+upstream("vault", 9193),
		"hello=http://127.0.0.1:9191 relay=http://127.0.0.1:9192 vault=http://127.0.0.1:9193", 1) +
		service("relay", d.callers("web")+upstream("hello", 9191)+"  visibility = \"mesh\"\n", "hello=http://127.0.0.1:9191", 0) +
		service("vault", d.callers("relay")+"  visibility = \"mesh\"\n", "", 0)
}

// meshCall lets web wake relay and hello with one call, each through an Envoy. vault
// refuses web's call and is not woken.
func (d *demo) meshCall(ctx context.Context) error {
	if !d.mesh {
		d.print("mesh", "skipped: calls from service to service", "%s", d.noWhy)
		return nil
	}
	if err := d.zero(ctx, "mesh"); err != nil {
		return err
	}
	if err := d.count(ctx, relay, 0); err != nil {
		return err
	}
	before := d.instance
	res, err := d.via(ctx, "/via/relay/via/hello/")
	switch {
	case err != nil:
		return err
	case d.instance == before:
		return fmt.Errorf("instance %s answered before and after zero", before)
	case res.Header.Get("Server-Timing") == "":
		return errors.New("the answer has no Server-Timing: no activator held the call")
	}
	if err := errors.Join(d.count(ctx, first, 1), d.count(ctx, relay, 1)); err != nil {
		return err
	}
	d.print("mesh", "web calls relay, relay calls hello: both wake", "%d in %s, %s", res.Status, round(res.Took), strings.TrimSpace(res.Body))
	if res, err = d.via(ctx, "/via/hello/"); err != nil {
		return err
	}
	d.print("mesh", "web calls hello itself, warm", "%d in %s", res.Status, round(res.Took))
	return d.denied(ctx)
}

// via lets web forward a call, and expects hello's answer.
func (d *demo) via(ctx context.Context, path string) (harness.Response, error) {
	res, err := d.stack.Agent.Get(ctx, "web", path)
	if err == nil {
		err = d.note(res, first)
	}
	return res, err
}

// denied lets web call a service that does not allow it.
func (d *demo) denied(ctx context.Context) error {
	res, err := d.stack.Agent.Get(ctx, "web", "/via/vault/")
	if err != nil {
		return err
	}
	if res.Status != http.StatusForbidden {
		return fmt.Errorf("web got status %d from vault, want 403: %s", res.Status, res.Body)
	}
	history, _, err := d.stack.Nomad.Jobs().ScaleStatus(vault, nil)
	if err != nil {
		return err
	}
	if n := len(history.TaskGroups[wadi.GroupInstance].Events); n > 0 {
		return fmt.Errorf("%s was scaled %d times", vault, n)
	}
	if err := d.count(ctx, vault, 0); err != nil {
		return err
	}
	d.print("mesh", "web calls vault, which lets only relay in", "%d in %s, %s not woken", res.Status, round(res.Took), vault)
	return nil
}
