package jobspecs

import (
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
)

// parse reads the file. ok is false if its syntax is broken.
func (r *reader) parse(o Options) (drafts []*Draft, ok bool) {
	root, ok := r.syntax()
	if !ok {
		return nil, false
	}
	content, diags := root.Content(top())
	for _, d := range diags {
		r.misplaced(d, "", hintAtTop, []string{"service", "variable", "locals"}, root.MissingItemRange())
	}
	r.begin()
	variables := r.variables(content.Blocks.OfType("variable"), o.Variables)
	r.locals(content.Blocks.OfType("locals"))

	services := 0
	for _, b := range root.Blocks {
		if b.Type == "job" {
			r.addf(b.DefRange(), "job", "this is a Nomad job; put the inside of its group into service \"name\" { instance { … } }")
		}
		if b.Type != "service" {
			continue
		}
		services++
		if len(b.Labels) != 1 {
			continue // Reported above.
		}
		if d := r.draft(b, o.Defaults); d != nil {
			d.root, d.variables, d.valueless = root, variables, r.valueless
			drafts = append(drafts, d)
		}
	}
	r.evaluateLocals()
	if services == 0 {
		r.addf(root.MissingItemRange(), "", "no service in this file; add: service \"name\" { instance { … } }")
	}
	return drafts, true
}

// evaluateLocals evaluates all locals, also those that only the instance needs: Nomad's
// parser has no bounds, and gets them from Wadi. Other problems with these are reported by
// Nomad.
func (r *reader) evaluateLocals() {
	all := scope{variables: r.scope.variables, locals: map[string]*local{}, budget: r.scope.budget}
	for name, l := range r.scope.locals {
		all.locals[name] = &local{expr: l.expr}
	}
	for _, name := range slices.Sorted(maps.Keys(all.locals)) {
		rng := all.locals[name].expr.Range()
		_, diags := all.local(name, rng)
		if r.scope.budget.exceeded != "" {
			r.addDiagnostics(diags, "local."+name, rng)
			return
		}
	}
}

// top is the schema of a file.
func top() *hcl.BodySchema {
	return &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "service", LabelNames: []string{"name"}},
		{Type: "variable", LabelNames: []string{"name"}},
		{Type: "locals"},
		{Type: "job", LabelNames: []string{"name"}}, // parse refuses it with a better message.
	}}
}

// Namespaces lists the Nomad namespaces of the services in files, as far as these have no
// mistakes, so that rights can be checked before anything else. There are at most
// MaxServices.
func Namespaces(files []File, o Options) (all []string) {
	o.Limits = o.Limits.orDefault()
	meter := newBudget(maxWork)
	for _, f := range files {
		r := &reader{file: f, limits: o.Limits, scope: scope{budget: meter}}
		root, ok := r.syntax()
		if !ok {
			continue
		}
		content, _ := root.Content(top()) // Parse reports the problems.
		r.begin()
		r.variables(content.Blocks.OfType("variable"), o.Variables)
		r.locals(content.Blocks.OfType("locals"))
		for _, b := range root.Blocks {
			if b.Type != "service" {
				continue
			}
			s := wadi.Service{Namespace: o.Defaults.Service().Namespace}
			if a := b.Body.Attributes["namespace"]; a != nil {
				s.Namespace = ""
				r.attribute(a.AsHCLAttribute(), "namespace", text(&s.Namespace, checkNomadName))
			}
			if s.Namespace != "" && !slices.Contains(all, s.Namespace) && len(all) < MaxServices {
				all = append(all, s.Namespace)
			}
		}
	}
	return all
}

func (r *reader) syntax() (*hclsyntax.Body, bool) {
	start := hcl.Pos{Line: 1, Column: 1}
	whole := hcl.Range{Filename: r.file.Name, Start: start, End: start}
	if n := len(r.file.Source); n > r.limits.MaxSpecBytes {
		r.addf(whole, "", "the file has %d bytes, more than the %d that are allowed (limits.max_spec_bytes of the agent)", n, r.limits.MaxSpecBytes)
		return nil, false
	}
	if p, deep := tooDeep(r.file); deep {
		r.problems = append(r.problems, p)
		return nil, false
	}
	f, diags := hclsyntax.ParseConfig(r.file.Source, r.file.Name, start)
	body := f.Body.(*hclsyntax.Body)
	diags = r.redefined(body, diags)
	r.addDiagnostics(diags, "", whole)
	return body, !diags.HasErrors()
}

// draft reads one service block; nil if it has no instance.
func (r *reader) draft(b *hclsyntax.Block, defaults Defaults) *Draft {
	r.begin()
	r.ranges["name"] = b.LabelRanges[0]
	d := &Draft{Service: defaults.Service(), file: r.file, service: b, ranges: r.ranges, reported: map[string]bool{}, places: map[[2]int]bool{}}
	s := &d.Service
	s.Name = b.Labels[0]
	if err := checkName(s.Name); err != nil {
		r.addf(b.LabelRanges[0], "name", "%s", err)
	}
	for _, place := range r.twice {
		d.places[place] = true // Nomad's parser finds them too.
	}
	r.service(b.Body, s)
	r.check(s, b.DefRange())

	for _, inner := range b.Body.Blocks {
		if inner.Type == "instance" && len(inner.Labels) == 0 {
			d.instance = inner
			break
		}
	}
	if d.instance == nil {
		r.addf(b.DefRange(), "instance", "an instance block is required; add: instance { task \"web\" { … } }")
		return nil
	}
	for _, p := range checkInstance(d.instance.Body, s.Name) {
		d.reported[p.Path], d.places[[2]int{p.Line, p.Column}] = true, true
		r.problems = append(r.problems, p)
	}
	return d
}

// service reads everything in a service block.
func (r *reader) service(body hcl.Body, s *wadi.Service) {
	settings := append(r.general(s),
		setting{"domains", stringList(&s.Domains, 100, checkDomain)},
		setting{"serving_task", text(&s.ServingTask, notEmpty)},
	)
	blocks := append(r.tunable(s),
		nested{name: "instance", read: func(*hcl.Block, string) {}}, // For Nomad.
		nested{name: "upstream", label: "service", many: true, read: func(b *hcl.Block, path string) {
			u := wadi.Upstream{Service: b.Labels[0]}
			if err := checkUpstream(u.Service); err != nil {
				r.addf(b.LabelRanges[0], path, "%s", err)
			}
			r.body(b.Body, path, []setting{{"local_port", integer(&u.LocalPort, 1, 65535)}}, nil)
			r.require(b, path, "local_port", "where the app reaches the upstream on 127.0.0.1")
			s.Upstreams = append(s.Upstreams, u)
		}},
		nested{name: "traffic", many: true, read: func(b *hcl.Block, path string) { r.traffic(b, path, s) }},
		nested{name: "sticky", read: func(b *hcl.Block, path string) { r.sticky(b, path, s) }},
		nested{name: "mirror", read: func(b *hcl.Block, path string) { r.mirror(b, path, s) }},
		nested{name: "route", label: "name", many: true, read: func(b *hcl.Block, path string) { r.route(b, path, s) }},
		nested{name: "intentions", read: func(b *hcl.Block, path string) { r.intentions(b, path, s) }},
	)
	r.body(body, "", settings, blocks)
}

// general lists the settings that the agent may also have defaults for.
func (r *reader) general(s *wadi.Service) []setting {
	return []setting{
		{"namespace", text(&s.Namespace, checkNomadName)},
		{"datacenters", r.datacenters(s)},
		{"node_pool", text(&s.NodePool, checkNomadName)},
		{"priority", integer(&s.Priority, 1, 100)},
		{"image_prefetch", flag(&s.ImagePrefetch)},
		{"port", r.port(s)},
		{"protocol", oneOf(&s.Protocol, wadi.HTTP1, wadi.H2C, wadi.GRPC)},
		{"visibility", oneOf(&s.Visibility, wadi.Public, wadi.MeshOnly)},
		{"network", oneOf(&s.Network, wadi.Bridge, wadi.Host)},
		{"mesh", oneOf(&s.Mesh, wadi.MeshEnvoy, wadi.MeshOff)},
		{"meta", r.meta(s)},
		{"resolve_images", oneOf(&s.ResolveImages, wadi.ResolveRequire, wadi.ResolveTry, wadi.ResolveOff)},
	}
}

// tunable lists the blocks that the agent may also have defaults for.
func (r *reader) tunable(s *wadi.Service) []nested {
	return []nested{
		{name: "probe", read: func(b *hcl.Block, path string) { r.probe(b, path, &s.Probe) }},
		{name: "concurrency", read: func(b *hcl.Block, path string) {
			r.body(b.Body, path, []setting{{"limit", integer(&s.ConcurrencyLimit, 0, 1_000_000)}}, nil)
		}},
		{name: "timeout", read: func(b *hcl.Block, path string) { r.timeout(b, path, &s.Timeout) }},
		{name: "queue", read: func(b *hcl.Block, path string) { r.queue(b, path, &s.Queue) }},
		{name: "scale", read: func(b *hcl.Block, path string) { r.scale(b, path, &s.Scale) }},
		{name: "rollout", read: func(b *hcl.Block, path string) { r.rollout(b, path, s) }},
		{name: "retention", read: func(b *hcl.Block, path string) {
			r.body(b.Body, path, []setting{
				{"keep", integer(&s.Retention.Keep, 0, 1000)},
				{"keep_for", age(&s.Retention.KeepFor)},
				{"keep_active_for", age(&s.Retention.KeepActiveFor)},
			}, nil)
		}},
	}
}

func (r *reader) require(b *hcl.Block, path, name, why string) {
	p := join(path, name)
	if _, ok := r.ranges[p]; !ok {
		r.addf(b.DefRange, p, "required: %s", why)
	}
}
