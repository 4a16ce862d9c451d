package convert

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// choose finds the Consul service that becomes Wadi's: the first one in the mesh, else the
// first one with a port.
func (g *group) choose() {
	type candidate struct {
		it   item
		task string
	}
	var all []candidate
	for _, it := range g.items {
		if it.name == "service" && it.block != nil {
			all = append(all, candidate{it, ""})
		}
	}
	for _, t := range g.tasks {
		for _, it := range itemsOf(t.Body) {
			if it.name == "service" && it.block != nil {
				all = append(all, candidate{it, t.Labels[0]})
			}
		}
	}
	best := -1
	for i, c := range all {
		meshed := sidecar(c.it.block) != nil
		if meshed && !g.mesh || best < 0 && c.it.block.Body.Attributes["port"] != nil {
			best, g.mesh = i, meshed
		}
	}
	if best < 0 {
		return
	}
	g.served, g.servedTask = &all[best].it, all[best].task
	body := g.served.block.Body
	if a := body.Attributes["name"]; a != nil {
		g.consulName, _ = literal(a.Expr)
	}
	if a := body.Attributes["task"]; a != nil && g.servedTask == "" {
		g.servedTask, _ = literal(a.Expr)
	}
	if a := body.Attributes["port"]; a != nil {
		port, ok := literal(a.Expr)
		if _, err := strconv.Atoi(port); ok && err == nil {
			g.portExpr = port
		} else if ok {
			g.portLabel = port
		}
	}
}

// sidecar is the block that puts a service into the mesh; nil if there is none.
func sidecar(service *hclsyntax.Block) *hclsyntax.Block {
	if connect := inner(service.Body, "connect"); connect != nil {
		return inner(connect.Body, "sidecar_service")
	}
	return nil
}

func inner(body *hclsyntax.Body, name string) *hclsyntax.Block {
	for _, b := range body.Blocks {
		if b.Type == name {
			return b
		}
	}
	return nil
}

// readServices replaces the served service by what is said about it, and what else can't
// stay beside it.
func (n *nomadReader) readServices(g *group) {
	if g.served != nil {
		n.lines(g.served.rng, n.servedService(g))
	}
	each := func(items []item) {
		for _, it := range items {
			if it.name != "service" || it.block == nil || g.served != nil && it.rng == g.served.rng {
				continue
			}
			if why := n.cannotStay(g, it.block.Body); why != "" {
				n.lines(it.rng, n.note(it.rng, "group.service", why)+commented(n.dedent(it.rng)))
			}
		}
	}
	each(g.items)
	for _, t := range g.tasks {
		each(itemsOf(t.Body))
	}
}

func (n *nomadReader) cannotStay(g *group, body *hclsyntax.Body) string {
	value := func(name string) string {
		if a := body.Attributes[name]; a != nil {
			v, _ := literal(a.Expr)
			return v
		}
		return ""
	}
	switch {
	case inner(body, "connect") != nil:
		return "not carried over: one service of an instance is in the mesh; give this one an instance of its own"
	case g.portLabel != "" && value("port") == g.portLabel:
		return "not carried over: callers of the served port come through the queue-proxy, by the service's name"
	case value("name") != "" && value("name") == nameOf(g.consulName):
		return "not carried over: Wadi registers the service of this name; give this one another one"
	}
	return ""
}

// servedService returns the comments that stand in place of the served service.
func (n *nomadReader) servedService(g *group) string {
	var out strings.Builder
	probed := false
	for _, in := range itemsOf(g.served.block.Body) {
		switch {
		case in.name == "name" && in.attr != nil && g.consulName != "", in.name == "port", in.name == "task" && in.attr != nil:
		case in.name == "provider" && in.attr != nil && isLiteral(in.attr.Expr, "consul"):
		case in.name == "check" && in.block != nil:
			text, isProbe := n.check(g, in, probed)
			probed = probed || isProbe
			out.WriteString(text)
		case in.name == "connect" && in.block != nil:
			out.WriteString(n.connect(g, in))
		case in.name == "name":
			out.WriteString(n.note(in.rng, "service.name", "not written out, so the service has the job's name here; callers have to use that") + commented(n.dedent(in.rng)))
		default:
			out.WriteString(n.drop(in.rng, "service."+in.name))
		}
	}
	return out.String()
}

func isLiteral(e hclsyntax.Expression, want string) bool {
	v, ok := literal(e)
	return ok && v == want
}

// check turns a check into the probe, if there is none yet.
func (n *nomadReader) check(g *group, it item, probed bool) (text string, isProbe bool) {
	body := it.block.Body
	typ := ""
	if a := body.Attributes["type"]; a != nil {
		typ, _ = literal(a.Expr)
	}
	if probed || typ != "http" && typ != "tcp" && typ != "grpc" {
		return n.note(it.rng, "service.check", "not carried over: one check of type http, tcp or grpc is the probe of readiness") + commented(n.dedent(it.rng)), false
	}
	var out, lost strings.Builder
	probe := "tcp = true\n"
	if typ == "grpc" {
		probe = "grpc = \"\" # Every service of the app.\n"
		g.settings = append(g.settings, "protocol = \"grpc\"\n")
	}
	for _, in := range itemsOf(body) {
		switch {
		case in.name == "type":
		case in.name == "path" && typ == "http" && in.attr != nil:
			probe = "http = " + n.source(in.attr.Expr) + "\n"
		case in.name == "grpc_service" && typ == "grpc" && in.attr != nil:
			probe = "grpc = " + n.source(in.attr.Expr) + "\n"
		case in.name == "timeout" && in.attr != nil:
			lost.WriteString("timeout = " + n.source(in.attr.Expr) + "\n")
		case in.name == "name" || in.name == "interval" || in.name == "port":
			// Every check has them; the table of settings says what they are here.
		default:
			out.WriteString(n.drop(in.rng, "check."+in.name))
		}
	}
	g.blocks = append(g.blocks, "probe {\n"+probe+lost.String()+"}\n")
	return out.String(), true
}

// connect reads the upstreams of the sidecar.
func (n *nomadReader) connect(g *group, it item) string {
	var out strings.Builder
	for _, in := range itemsOf(it.block.Body) {
		if in.name != "sidecar_service" || in.block == nil {
			out.WriteString(n.drop(in.rng, "connect."+in.name))
			continue
		}
		for _, side := range itemsOf(in.block.Body) {
			switch {
			case side.name == "proxy" && side.block != nil:
				out.WriteString(n.proxy(g, side))
			case side.name == "port":
			default:
				out.WriteString(n.drop(side.rng, "connect.sidecar_service"))
			}
		}
	}
	return out.String()
}

func (n *nomadReader) proxy(g *group, it item) string {
	var out strings.Builder
	for _, in := range itemsOf(it.block.Body) {
		switch {
		case in.name == "upstreams" && in.block != nil:
			out.WriteString(n.upstream(g, in))
		case in.name == "local_service_port" && in.attr != nil:
			if v, ok := literal(in.attr.Expr); ok {
				g.portExpr = v
			}
		default:
			out.WriteString(n.drop(in.rng, "connect.sidecar_service"))
		}
	}
	return out.String()
}

func (n *nomadReader) upstream(g *group, it item) string {
	name, port := it.block.Body.Attributes["destination_name"], it.block.Body.Attributes["local_bind_port"]
	if name == nil || port == nil {
		return n.note(it.rng, "connect.upstreams", "it needs destination_name and local_bind_port, written out") + commented(n.dedent(it.rng))
	}
	to, ok := literal(name.Expr)
	if !ok || nameOf(to) != to {
		return n.note(it.rng, "connect.upstreams", "its name has to be written out, and a DNS label; add: upstream \"name\" { local_port = … }") + commented(n.dedent(it.rng))
	}
	var out strings.Builder
	for _, in := range itemsOf(it.block.Body) {
		if in.name != "destination_name" && in.name != "local_bind_port" {
			out.WriteString(n.note(in.rng, "upstream."+in.name, "not carried over: an upstream has a local_port only") + commented(n.dedent(in.rng)))
		}
	}
	g.blocks = append(g.blocks, fmt.Sprintf("upstream %q {\nlocal_port = %s\n}\n", to, n.source(port.Expr)))
	return out.String()
}

// scalar is a string, number or bool as text.
func scalar(v cty.Value) (string, bool) {
	s, err := convert.Convert(v, cty.String)
	if err != nil || s.IsNull() {
		return "", false
	}
	return s.AsString(), true
}
