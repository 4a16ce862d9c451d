package convert

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// group is one group of a job, or a task outside of any.
type group struct {
	label    string
	several  bool // The job has more of them.
	def      hcl.Range
	from, to int // Its inside in the source.
	items    []item
	tasks    []*hclsyntax.Block
	has      map[string]bool
	meta     *item

	name       string
	consulName string   // Of the served service, if it is written out.
	served     *item    // The Consul service that becomes Wadi's.
	servedTask string   // Where it stands, if in a task.
	portLabel  string   // Of the served port.
	portExpr   string   // Where the app listens inside the instance, if known.
	mode       string   // Of the network.
	mesh       bool     // It has a sidecar.
	settings   []string // Lines of the service.
	blocks     []string // Blocks of the service.
}

func (n *nomadReader) groups() []*group {
	var all []*group
	for _, b := range n.job.Body.Blocks {
		switch {
		case b.Type == "group" && len(b.Labels) == 1:
			all = append(all, &group{
				label: b.Labels[0], def: b.DefRange(),
				from: b.OpenBraceRange.End.Byte, to: b.CloseBraceRange.Start.Byte, items: itemsOf(b.Body),
			})
		case b.Type == "task" && len(b.Labels) == 1:
			all = append(all, &group{
				label: b.Labels[0], def: b.DefRange(),
				from: b.Range().Start.Byte, to: b.Range().End.Byte, items: []item{{name: "task", rng: b.Range(), block: b}},
			})
		}
	}
	for _, g := range all {
		g.several, g.has = len(all) > 1, map[string]bool{}
		for i, it := range g.items {
			g.has[it.name] = true
			if it.name == "task" && it.block != nil && len(it.block.Labels) == 1 {
				g.tasks = append(g.tasks, it.block)
			}
			if it.name == "meta" {
				g.meta = &g.items[i]
			}
		}
	}
	return all
}

// keeps reports whether a group may keep a setting.
func keeps(name string) bool {
	return slices.Contains([]string{
		"task", "constraint", "affinity", "spread", "volume", "restart", "reschedule",
		"ephemeral_disk", "vault", "consul", "disconnect", "meta", "dynamic",
		"stop_after_client_disconnect", "max_client_disconnect", "prevent_reschedule_on_lost",
	}, name)
}

// readGroup edits what stands directly in the group.
func (n *nomadReader) readGroup(g *group) {
	var scale []string
	for _, it := range g.items {
		switch {
		case it.name == "network" || it.name == "service": // Done.
		case it.name == "count" && it.attr != nil:
			comment := n.gone(n.file.Name, it.rng.Start.Line, it.rng.Start.Column, "group.count")
			n.remove(it.rng)
			if !g.scalingBounds() {
				scale = append(scale, comment, "min = "+n.source(it.attr.Expr)+"\n")
			}
		case it.name == "scaling" && it.block != nil:
			scale = append(scale, n.scaling(it)...)
			n.lines(it.rng, "")
		case it.name == "update" || it.name == "migrate" || it.name == "shutdown_delay":
			n.lines(it.rng, n.drop(it.rng, "group."+it.name))
		case !keeps(it.name):
			n.lines(hcl.Range{Start: it.rng.Start, End: it.rng.Start}, n.note(it.rng, "group."+it.name, "unknown to wadi convert, and kept; Nomad's parser says whether it knows it"))
		}
	}
	if len(scale) > 0 {
		g.blocks = append(g.blocks, "scale {\n"+strings.Join(scale, "")+"}\n")
	}
}

// scalingBounds reports whether the group's scaling says how many instances there are.
func (g *group) scalingBounds() bool {
	for _, it := range g.items {
		if it.name == "scaling" && it.block != nil && it.block.Body.Attributes["min"] != nil {
			return true
		}
	}
	return false
}

func (n *nomadReader) scaling(it item) (lines []string) {
	lines = append(lines, n.gone(n.file.Name, it.rng.Start.Line, it.rng.Start.Column, "group.scaling"))
	for _, in := range itemsOf(it.block.Body) {
		if in.attr != nil && (in.name == "min" || in.name == "max") {
			lines = append(lines, in.name+" = "+n.source(in.attr.Expr)+"\n")
			continue
		}
		lines = append(lines, n.drop(in.rng, "scaling."+in.name))
	}
	return lines
}

// readNetwork finds the served port, and edits the network. It needs no service if there
// is only one port.
func (n *nomadReader) readNetwork(g *group) {
	g.choose()
	first := true
	for _, it := range g.items {
		if it.name != "network" || it.block == nil {
			continue
		}
		if !first {
			n.lines(it.rng, n.note(it.rng, "group.network", "an instance has one network; put the ports of both into the first one")+commented(n.dedent(it.rng)))
			continue
		}
		first = false
		n.network(g, it)
	}
	n.setNetwork(g)
}

func (n *nomadReader) network(g *group, it item) {
	var ports []item
	for _, in := range itemsOf(it.block.Body) {
		if in.name == "port" && in.block != nil && len(in.block.Labels) == 1 || in.name == "dynamic" && in.block != nil {
			ports = append(ports, in)
		}
	}
	for _, p := range ports {
		if g.portLabel == "" && p.block.Type == "port" && (g.portExpr == "" && len(ports) == 1 || g.portExpr != "" && insidePort(p.block) == g.portExpr) {
			g.portLabel = p.block.Labels[0]
		}
	}
	var said strings.Builder // In place of the block, if nothing of it is left.
	left := 0
	say := func(rng hcl.Range, text string) {
		said.WriteString(text)
		n.lines(rng, text)
	}
	for _, in := range itemsOf(it.block.Body) {
		switch {
		case in.name == "port" && in.block != nil && len(in.block.Labels) == 1 && in.block.Labels[0] == g.portLabel:
			say(in.rng, n.servedPort(g, in))
		case in.name == "port" || in.name == "dynamic":
			left++
		case in.name == "mode" && in.attr != nil:
			mode, ok := literal(in.attr.Expr)
			if g.mode = mode; ok && (mode == "bridge" || mode == "host") {
				n.remove(in.rng)
				continue
			}
			say(in.rng, n.drop(in.rng, "network.mode"))
		default:
			say(in.rng, n.drop(in.rng, "network."+in.name))
		}
	}
	if left == 0 {
		n.lines(it.rng, said.String())
	}
}

// insidePort is the number of a port inside the instance, if it is written out.
func insidePort(port *hclsyntax.Block) string {
	for _, name := range []string{"to", "static"} {
		if a := port.Body.Attributes[name]; a != nil {
			v, _ := literal(a.Expr)
			return v
		}
	}
	return ""
}

// servedPort reads the port that the app serves at, and says what is lost.
func (n *nomadReader) servedPort(g *group, port item) string {
	out := ""
	for _, in := range itemsOf(port.block.Body) {
		switch {
		case in.name == "to" && in.attr != nil:
			if v, ok := literal(in.attr.Expr); !ok || v != "-1" {
				g.portExpr = n.source(in.attr.Expr)
			}
		case in.name == "static" && in.attr != nil:
			if port.block.Body.Attributes["to"] == nil {
				g.portExpr = n.source(in.attr.Expr)
			}
			out += n.drop(in.rng, "port.static")
		default:
			out += n.drop(in.rng, "port."+in.name)
		}
	}
	return out
}

// setNetwork writes network, mesh and port.
func (n *nomadReader) setNetwork(g *group) {
	host := g.mode == "host" || g.mode == "" && !g.docker()
	if !host && g.portExpr == "" {
		g.portExpr = n.portFromEnv(g)
	}
	switch {
	case host:
		g.settings = append(g.settings, "network = \"host\" # The app listens on $PORT, which Nomad chooses.\n")
	case g.portExpr != "":
		g.settings = append(g.settings, "port = "+g.portExpr+"\n")
	default:
		g.settings = append(g.settings, n.note(g.def, "port", "the job does not say where the app listens; here that is 8080, which it finds in PORT"), "port = 8080\n")
	}
	switch {
	case g.mesh && host:
		g.settings = append(g.settings, n.note(g.def, "mesh", "the mesh needs a network of mode bridge"), "mesh = \"off\"\n")
	case g.mesh:
		g.settings = append(g.settings, "mesh = \"envoy\"\n")
	case host:
		g.settings = append(g.settings, "mesh = \"off\"\n")
	default:
		g.settings = append(g.settings, "mesh = \"off\" # The group was not in the mesh; with \"envoy\" others call it by name there, also at zero.\n")
	}
}

// docker reports whether all tasks run in containers with networks of their own.
func (g *group) docker() bool {
	for _, t := range g.tasks {
		a := t.Body.Attributes["driver"]
		if a == nil {
			return false
		}
		if driver, _ := literal(a.Expr); driver != "docker" && driver != "podman" {
			return false
		}
		if config := inner(t.Body, "config"); config != nil {
			if mode := config.Body.Attributes["network_mode"]; mode != nil && isLiteral(mode.Expr, "host") {
				return false
			}
		}
	}
	return len(g.tasks) > 0
}

// portFromEnv is a port that the app is told in PORT.
func (n *nomadReader) portFromEnv(g *group) string {
	for _, t := range g.tasks {
		for _, in := range envOf(t.Body) {
			if in.name != "PORT" {
				continue
			}
			if v, ok := literal(in.attr.Expr); ok {
				if p, err := strconv.Atoi(v); err == nil && p > 0 {
					return strconv.Itoa(p)
				}
			}
		}
	}
	return ""
}

// source is an expression as it is written.
func (n *nomadReader) source(e hclsyntax.Expression) string {
	return string(e.Range().SliceBytes(n.src))
}

// remove takes a line out; what it says stands elsewhere in the result.
func (n *nomadReader) remove(rng hcl.Range) { n.lines(rng, "") }
