package convert

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// keepsInTask reports whether a task may keep a setting.
func keepsInTask(name string) bool {
	return slices.Contains([]string{
		"driver", "user", "config", "env", "resources", "template", "artifact", "logs",
		"kill_timeout", "kill_signal", "lifecycle", "volume_mount", "identity", "secret", "csi_plugin",
		"action", "dispatch_payload", "constraint", "affinity", "restart", "vault", "consul", "meta",
		"service", "shutdown_delay", "schedule", "dynamic",
	}, name)
}

// readTasks edits the tasks, and finds the one that serves.
func (n *nomadReader) readTasks(g *group) {
	for _, t := range g.tasks {
		for _, it := range itemsOf(t.Body) {
			switch {
			case it.name == "leader" && it.attr != nil:
				if v, ok := literal(it.attr.Expr); !ok || v != "false" {
					n.lines(it.rng, n.drop(it.rng, "task.leader"))
				}
			case !keepsInTask(it.name) && it.name != "leader" && it.name != "kind" && it.name != "scaling":
				n.openUp(t)
				n.lines(hcl.Range{Start: it.rng.Start, End: it.rng.Start}, n.note(it.rng, "task."+it.name, "unknown to wadi convert, and kept; Nomad's parser says whether it knows it"))
			case it.name == "kind" || it.name == "scaling":
				n.lines(it.rng, n.drop(it.rng, "task."+it.name))
			case it.name == "resources" && it.block != nil:
				if network := inner(it.block.Body, "network"); network != nil {
					n.lines(network.Range(), n.drop(network.Range(), "resources.network"))
				}
			case it.name == "config" && it.block != nil:
				n.config(g, it.block.Body)
			}
		}
		n.env(t.Body)
	}
	n.references(g)
	n.servingTask(g)
}

// config takes the served port out of the ports that a container's driver maps.
func (n *nomadReader) config(g *group, body *hclsyntax.Body) {
	for _, it := range itemsOf(body) {
		switch it.name {
		case "port_map":
			n.lines(it.rng, n.drop(it.rng, "config.port_map"))
		case "ports":
			if it.attr == nil {
				continue
			}
			list, ok := it.attr.Expr.(*hclsyntax.TupleConsExpr)
			if !ok {
				continue
			}
			var left []string
			for _, e := range list.Exprs {
				if !isLiteral(e, g.portLabel) || g.portLabel == "" {
					left = append(left, n.source(e))
				}
			}
			switch {
			case len(left) == len(list.Exprs):
			case len(left) == 0:
				n.remove(it.rng)
			default:
				n.replace(list.Range().Start.Byte, list.Range().End.Byte, "["+strings.Join(left, ", ")+"]")
			}
		}
	}
}

// envOf lists the variables of a task's env, as a block and as a map.
func envOf(task *hclsyntax.Body) (all []item) {
	for _, b := range task.Blocks {
		if b.Type == "env" {
			all = append(all, itemsOf(b.Body)...)
		}
	}
	if a := task.Attributes["env"]; a != nil {
		if object, ok := a.Expr.(*hclsyntax.ObjectConsExpr); ok {
			for _, e := range object.Items {
				if k, diags := e.KeyExpr.Value(nil); !diags.HasErrors() && k.Type() == cty.String && k.IsKnown() && !k.IsNull() {
					all = append(all, item{
						name: k.AsString(), rng: hcl.RangeBetween(e.KeyExpr.Range(), e.ValueExpr.Range()),
						attr: &hclsyntax.Attribute{Name: k.AsString(), Expr: e.ValueExpr},
					})
				}
			}
		}
	}
	return all
}

// env removes what Wadi sets itself.
func (n *nomadReader) env(task *hclsyntax.Body) {
	for _, it := range envOf(task) {
		key := "env." + it.name
		if strings.HasPrefix(it.name, "WADI_") {
			key = "env.WADI_"
		}
		if _, reserved := find(n.table, key); !reserved {
			continue
		}
		text := n.drop(it.rng, key)
		rest := n.src[it.rng.End.Byte:]
		if after := bytes.TrimLeft(rest, " \t"); bytes.HasPrefix(after, []byte{','}) {
			it.rng.End.Byte += len(rest) - len(after) + 1 // Of a map.
		}
		n.lines(it.rng, text)
	}
}

var (
	ofPort = regexp.MustCompile(`\bNOMAD_(?:ALLOC_)?PORT_([A-Za-z0-9_]+)`)
	ofHost = regexp.MustCompile(`\bNOMAD_(?:ADDR|IP|HOST_PORT|HOST_ADDR|HOST_IP)_([A-Za-z0-9_]+)`)
	ofJob  = regexp.MustCompile(`\bNOMAD_(?:JOB_NAME|JOB_ID|GROUP_NAME)\b`)
)

// references renames the served port in the tasks, wherever their texts name it, and notes
// what has no such name.
func (n *nomadReader) references(g *group) {
	label := strings.ReplaceAll(g.portLabel, "-", "_")
	for _, t := range g.tasks {
		rng := t.Range()
		text := n.src[rng.Start.Byte:rng.End.Byte]
		if label != "" {
			for _, m := range ofPort.FindAllSubmatchIndex(text, -1) {
				if name := string(text[m[2]:m[3]]); name == label || name == g.portLabel {
					n.replace(rng.Start.Byte+m[0], rng.Start.Byte+m[1], "PORT")
				}
			}
			for _, m := range ofHost.FindAllSubmatchIndex(text, -1) {
				if name := string(text[m[2]:m[3]]); name == label || name == g.portLabel {
					n.reference(g, rng, m[0], string(text[m[0]:m[2]]), string(text[m[0]:m[1]]))
				}
			}
		}
		for _, m := range ofJob.FindAllIndex(text, -1) {
			n.reference(g, rng, m[0], string(text[m[0]:m[1]]), string(text[m[0]:m[1]]))
		}
	}
}

// reference notes a reference in a task's text, which may be one where no comment can
// stand, so the comment stands in the service.
func (n *nomadReader) reference(g *group, task hcl.Range, at int, row, name string) {
	before := string(n.src[:task.Start.Byte+at])
	s, _ := find(n.table, row)
	why := "kept as it is: " + s.Why
	if s.Here != "" {
		why = fmt.Sprintf("kept as it is; use %s: %s", s.Here, s.Why)
	}
	line := strings.Count(before, "\n") + 1
	g.settings = append(g.settings, n.add(n.file.Name, line, len(before)-strings.LastIndexByte(before, '\n'), name, why))
}

// servingTask names the task that listens at the served port, if there are several.
func (n *nomadReader) servingTask(g *group) {
	var main []string
	byPort := ""
	for _, t := range g.tasks {
		if inner(t.Body, "lifecycle") != nil {
			continue
		}
		main = append(main, t.Labels[0])
		if g.portLabel != "" && byPort == "" && strings.Contains(string(t.Range().SliceBytes(n.src)), g.portLabel) {
			byPort = t.Labels[0]
		}
	}
	if len(main) < 2 {
		return
	}
	serving := g.servedTask
	if serving == "" {
		serving = byPort
	}
	if serving == "" {
		serving = main[0]
		g.settings = append(g.settings, n.note(g.def, "serving_task", fmt.Sprintf("the job does not say which of its tasks serves; here it is the first one; the others are %s", strings.Join(main[1:], ", "))))
	}
	g.settings = append(g.settings, fmt.Sprintf("serving_task = %q\n", serving))
}

// files notes calls of functions that read files.
func (n *nomadReader) files(root *hclsyntax.Body) {
	_ = hclsyntax.VisitAll(root, func(node hclsyntax.Node) hcl.Diagnostics {
		call, ok := node.(*hclsyntax.FunctionCallExpr)
		if !ok {
			return nil
		}
		if s, known := find(n.table, call.Name); known && s.Here == "" {
			n.out.WriteString(n.note(call.NameRange, call.Name, s.Why))
		}
		return nil
	})
}
