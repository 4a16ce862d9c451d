package jobspecs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
)

// Settings that an instance block may not have, and what to use instead.
const (
	notCount         = "Wadi decides how many instances run; use min and max in the service's scale block"
	notScaling       = "Wadi scales the instances; use the service's scale block"
	notUpdate        = "a change makes a new revision, which Wadi brings in itself; use the service's timeout.progress to bound that"
	notNetwork       = "Wadi makes the network; use the service's network and port settings, and a network block with ports in the instance for further ones"
	notShutdownDelay = "Wadi sets it, so that callers have gone before an instance stops; use the service's timeout.request to bound the drain"
	notLeader        = "the queue-proxy is the leader, so that it drains while this task still runs; use kill_timeout for the time this task needs to stop"
	notConnect       = "Wadi puts the instance into the mesh; use the service's mesh and upstream settings"
	notKind          = "Nomad sets the kind of a task; use the service's mesh setting"
	notEnvPort       = "Wadi sets PORT to where the app has to listen; use the service's port setting"
)

func notService(name string) string {
	return fmt.Sprintf("Wadi registers service %q in Consul; give this one another name", name)
}

func notTask(name string) string {
	return fmt.Sprintf("task name %q is reserved for Wadi's sidecars; give the task another name", name)
}

func notEnv(name string) string {
	if name == "PORT" {
		return notEnvPort
	}
	return fmt.Sprintf("Wadi sets %s; use another name", name)
}

func reservedEnv(name string) bool {
	return slices.Contains([]string{"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}, name) || strings.HasPrefix(name, "WADI_")
}

// checkInstance finds what an instance block may not have, as far as the syntax shows it.
// Complete finds the rest, which dynamic blocks and expressions make.
func checkInstance(body *hclsyntax.Body, service string) []wadi.Problem {
	c := &checker{service: service, budget: newBudget(maxWork)}
	c.attribute(body, "count", "instance", notCount)
	c.attribute(body, "shutdown_delay", "instance", notShutdownDelay)
	for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
		if place := hintInInstance(name); place != "" {
			c.attribute(body, name, "instance", place)
		}
	}
	for _, b := range body.Blocks {
		if place := hintInInstance(b.Type); place != "" {
			c.add(b.DefRange(), "instance."+b.Type, place)
		}
		switch b.Type {
		case "scaling":
			c.add(b.DefRange(), "instance.scaling", notScaling)
		case "update":
			c.add(b.DefRange(), "instance.update", notUpdate)
		case "network":
			c.network(b)
		case "service":
			c.serviceBlock(b, "instance")
		case "task":
			c.task(b)
		}
	}
	return c.problems
}

type checker struct {
	service  string
	networks int // Number of network blocks so far.
	budget   *budget
	problems []wadi.Problem
}

func (c *checker) add(rng hcl.Range, path, message string) {
	c.problems = append(c.problems, problemAt(rng, path, "%s", message))
}

func (c *checker) attribute(body *hclsyntax.Body, name, path, message string) {
	if a := body.Attributes[name]; a != nil {
		c.add(a.NameRange, join(path, name), message)
	}
}

func (c *checker) serviceBlock(b *hclsyntax.Block, path string) {
	name := ""
	if a := b.Body.Attributes["name"]; a != nil {
		if v, diags := c.budget.value(a.Expr, nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
			if name = v.AsString(); name == c.service {
				c.add(a.Expr.Range(), join(path, "service."+name), notService(name))
			}
		}
	}
	for _, inner := range b.Body.Blocks {
		if inner.Type == "connect" {
			c.add(inner.DefRange(), join(path, "service.connect"), notConnect)
		}
	}
}

func (c *checker) task(b *hclsyntax.Block) {
	if len(b.Labels) != 1 {
		return // Nomad's parser complains.
	}
	path := "instance.task." + b.Labels[0]
	if wadi.OwnTask(b.Labels[0]) {
		c.add(b.LabelRanges[0], path, notTask(b.Labels[0]))
	}
	if a := b.Body.Attributes["leader"]; a != nil {
		if v, diags := c.budget.value(a.Expr, nil); diags.HasErrors() || !v.RawEquals(cty.False) {
			c.add(a.NameRange, path+".leader", notLeader)
		}
	}
	c.attribute(b.Body, "kind", path, notKind)
	c.env(b.Body, path)
	for _, inner := range b.Body.Blocks {
		switch inner.Type {
		case "service":
			c.serviceBlock(inner, path)
		case "resources":
			for _, n := range inner.Body.Blocks {
				if n.Type == "network" {
					c.add(n.DefRange(), path+".resources.network", notNetwork)
				}
			}
		}
	}
}

// env checks both forms that Nomad accepts: a block, and a map.
func (c *checker) env(task *hclsyntax.Body, path string) {
	check := func(name string, rng hcl.Range) {
		if reservedEnv(name) {
			c.add(rng, path+".env."+name, notEnv(name))
		}
	}
	for _, b := range task.Blocks {
		if b.Type != "env" {
			continue
		}
		for name, a := range b.Body.Attributes {
			check(name, a.NameRange)
		}
	}
	if a := task.Attributes["env"]; a != nil {
		if object, ok := a.Expr.(*hclsyntax.ObjectConsExpr); ok {
			for _, item := range object.Items {
				if k, diags := c.budget.value(item.KeyExpr, nil); !diags.HasErrors() && k.Type() == cty.String && k.IsKnown() && !k.IsNull() {
					check(k.AsString(), item.KeyExpr.Range())
				}
			}
		}
	}
}
