//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// The services of a world.
const (
	ServiceHost   = "host"   // One instance, in the host's network.
	ServiceMesh   = "mesh"   // One instance in the mesh, called by gateways and by another service's Envoy.
	ServicePair   = "pair"   // Two instances.
	ServiceSingle = "single" // One request at a time.
	ServiceZero   = "zero"   // At zero, but for a request that each fault sends while it lasts.
	ServiceNaps   = "naps"   // Requests come for some seconds, then none until it is at zero again.
)

// kept is how many instances each service has at least; those at zero are not in it.
var kept = map[string]int{ServiceHost: 1, ServiceMesh: 1, ServicePair: 2, ServiceSingle: 1}

// max is how many instances each service may have.
var most = map[string]int{ServiceHost: 2, ServiceMesh: 2, ServicePair: 3, ServiceSingle: 3, ServiceZero: 1, ServiceNaps: 2}

// services are the names of those that this world has.
func (w *World) services() []string {
	all := []string{ServiceHost, ServicePair, ServiceSingle, ServiceZero, ServiceNaps}
	if w.Mesh {
		all = append(all, ServiceMesh)
	}
	return all
}

// options of a service. The zero value has one instance in the host's network.
type options struct {
	mesh     bool
	env      map[string]string
	min, max int
	limit    int
	window   string
	more     string // More of the service block.
}

// hcl renders a service of the app that writes down its requests.
func (w *World) hcl(name string, o options) string {
	network, mesh := "host", "off"
	if o.mesh {
		network, mesh = "bridge", "envoy"
	}
	var env strings.Builder
	for k, v := range o.env {
		fmt.Fprintf(&env, "\n        %s = %q", k, v)
	}
	if o.window == "" {
		o.window = "60s"
	}
	return fmt.Sprintf(`service %q {
  network = %q
  mesh    = %q
  instance {
    task "app" {
      driver = "raw_exec"
      config {
        command = "ledger"
      }
      env {
        LEDGER = %q%s
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
  concurrency {
    limit = %d
  }
  queue {
    timeout = "4m" # No slow machine is to end a wait: a caller's patience does.
  }
  scale {
    min     = %d
    max     = %d
    initial = %d
    window  = %q
  }
  %s
}
`, name, network, mesh, w.ledger, env.String(), o.limit, o.min, o.max, max(o.min, 1), o.window, o.more)
}

// deploy submits all services and waits until they are ready.
func (w *World) deploy(ctx context.Context) error {
	hcl := ""
	for _, name := range w.services() {
		o := options{min: kept[name], max: most[name], mesh: name == ServiceMesh}
		switch name {
		case ServiceSingle:
			o.limit = 1
		case ServiceZero, ServiceNaps:
			o.window = "6s"
		}
		hcl += w.hcl(name, o)
	}
	return w.Agents[0].Apply(ctx, hcl)
}

// remove deletes all services that are stored.
func (w *World) remove(ctx context.Context) error {
	a, err := w.healthy(ctx)
	if err != nil {
		return err
	}
	list, err := a.Client.Services(ctx)
	errs := []error{err}
	for _, s := range list {
		errs = append(errs, a.Delete(ctx, s.Name))
	}
	return errors.Join(errs...)
}

// healthy is an agent that answers, the first of those that do.
func (w *World) healthy(ctx context.Context) (*harness.Agent, error) {
	var errs []error
	for _, a := range w.Agents {
		ask, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := a.Client.Health(ask)
		cancel()
		if err == nil {
			return a, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", a.Name, err))
	}
	return nil, errors.Join(errs...)
}

// Leader is the agent that leads, by the word of all agents that are meant to run.
func (w *World) Leader(ctx context.Context) (*harness.Agent, error) {
	name := ""
	for _, a := range w.Agents {
		l, err := w.leaderBy(ctx, a)
		if err != nil {
			return nil, fmt.Errorf("ask %s who leads: %w", a.Name, err)
		}
		if name != "" && l != name {
			return nil, fmt.Errorf("%s says that %s leads, another agent that %s does", a.Name, l, name)
		}
		name = l
	}
	return w.agent(name)
}

// leaderBy is the leader's name as an agent knows it.
func (w *World) leaderBy(ctx context.Context, a *harness.Agent) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	l, err := a.Client.Leader(ctx)
	if err == nil && l.Name == "" {
		err = errors.New("nobody leads")
	}
	return l.Name, err
}

func (w *World) agent(name string) (*harness.Agent, error) {
	for _, a := range w.Agents {
		if a.Name == name {
			return a, nil
		}
	}
	return nil, fmt.Errorf("there is no agent %q", name)
}

// settleWithin bounds how long everything may take to be as it was.
const settleWithin = 2 * time.Minute

// Settle waits until everything is as it should be without a fault: one agent leads, all
// services are ready and have their instances, and all streams of requests get answers to
// requests that began after a moment.
func (w *World) Settle(ctx context.Context, after time.Time) error {
	return harness.Eventually(ctx, settleWithin, func() error { return w.settled(ctx, after) })
}

func (w *World) settled(ctx context.Context, after time.Time) error {
	for _, a := range w.Agents {
		ask, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := a.Client.Health(ask)
		cancel()
		if err != nil {
			return fmt.Errorf("the health of %s: %w", a.Name, err)
		}
	}
	l, err := w.Leader(ctx)
	if err != nil {
		return err
	}
	for _, name := range w.services() {
		s, err := l.Client.Service(ctx, name)
		if err != nil {
			return err
		}
		if s.Status.Phase != "ready" {
			return fmt.Errorf("%s is %s: %+v", name, s.Status.Phase, s.Status.Conditions)
		}
		if n, err := w.running(ctx, wadi.RevisionID(name, 1)); err != nil || n < kept[name] {
			return fmt.Errorf("%s has %d instances, want %d at least (%w)", name, n, kept[name], err)
		}
	}
	return w.Load.answered(after, 3)
}

// everywhere is a read of all of Nomad's namespaces that ends with ctx.
func (w *World) everywhere(ctx context.Context) *nomad.QueryOptions {
	return (&nomad.QueryOptions{Namespace: nomad.AllNamespacesNamespace}).WithContext(ctx)
}

// query is a read of Consul that ends with ctx.
func (w *World) query(ctx context.Context) *consul.QueryOptions {
	return (&consul.QueryOptions{}).WithContext(ctx)
}

// running counts a revision's allocations that are to run, and do.
func (w *World) running(ctx context.Context, revision string) (int, error) {
	all, _, err := w.Nomad.Jobs().Allocations(revision, true, (&nomad.QueryOptions{}).WithContext(ctx))
	n := 0
	for _, a := range all {
		if a.ClientStatus == "running" && a.DesiredStatus == "run" {
			n++
		}
	}
	return n, err
}
