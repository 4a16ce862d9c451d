package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// nomadReader converts one job file. It works on the text, so that expressions and the
// user's comments stay.
type nomadReader struct {
	notes
	edits
	file jobspecs.File
	job  *hclsyntax.Block
	lead string // Comments before all.
	out  strings.Builder
}

func nomadHCL(f jobspecs.File) (Result, []wadi.Problem) { return newNomadReader(f).result() }

func newNomadReader(f jobspecs.File) *nomadReader {
	return &nomadReader{notes: notes{table: NomadSettings()}, edits: edits{src: f.Source}, file: f}
}

func (n *nomadReader) result() (Result, []wadi.Problem) {
	f := n.file
	if _, problems := jobspecs.Format(f.Source); len(problems) > 0 { // Too deep, or broken.
		for i := range problems {
			problems[i].File = f.Name
		}
		return Result{}, problems
	}
	parsed, diags := hclsyntax.ParseConfig(f.Source, f.Name, hcl.InitialPos)
	if diags.HasErrors() {
		return Result{}, jobspecs.FromDiagnostics(diags, "", hcl.Range{Filename: f.Name, Start: hcl.InitialPos})
	}
	if problems := n.convert(parsed.Body.(*hclsyntax.Body)); len(problems) > 0 {
		return Result{}, problems
	}
	n.sort()
	return Result{HCL: []byte(head(f.Name) + n.lead + n.out.String()), Notes: n.all}, nil
}

func (n *nomadReader) convert(root *hclsyntax.Body) []wadi.Problem {
	for _, b := range root.Blocks {
		if b.Type == "job" && len(b.Labels) == 1 && n.job == nil {
			n.job = b
		}
	}
	if n.job == nil {
		return []wadi.Problem{{File: n.file.Name, Line: 1, Message: "no Nomad job in this file: job \"name\" { group … }"}}
	}
	if p := n.noService(); len(p) > 0 {
		return p
	}
	n.files(root)
	groups := n.groups()
	if len(groups) == 0 {
		return []wadi.Problem{n.problem(n.job.DefRange(), "job.group", "the job has no group, and no task; write dynamic ones out")}
	}
	for _, it := range itemsOf(root) {
		switch {
		case it.block != nil && (it.name == "variable" || it.name == "locals"):
			n.out.WriteString(n.before(it.rng) + n.edits.text(it.rng.Start.Byte, it.rng.End.Byte) + "\n\n")
		case it.block != n.job || it.block == nil:
			n.out.WriteString(n.drop(it.rng, it.name) + "\n")
		}
	}
	names := map[string]bool{}
	for i, g := range groups {
		n.service(g, i == 0, names)
	}
	if len(groups) > jobspecs.MaxServices {
		n.lead += n.note(n.job.DefRange(), "job.group", fmt.Sprintf("the job has %d groups, and %d services at most can be submitted at once; split the file", len(groups), jobspecs.MaxServices))
	}
	return nil
}

// noService finds what makes the job none that answers requests.
func (n *nomadReader) noService() (problems []wadi.Problem) {
	if a := n.job.Body.Attributes["type"]; a != nil {
		if typ, ok := literal(a.Expr); !ok || typ != "service" {
			problems = append(problems, n.problem(a.SrcRange, "job.type", "only jobs of type \"service\" can become services; batch and system jobs stay Nomad jobs"))
		}
	}
	for _, b := range n.job.Body.Blocks {
		if b.Type == "periodic" || b.Type == "parameterized" {
			s, _ := find(n.table, "job."+b.Type)
			problems = append(problems, n.problem(b.DefRange(), s.Name, s.Why))
		}
	}
	return problems
}

func (n *nomadReader) problem(rng hcl.Range, path, message string) wadi.Problem {
	return wadi.Problem{File: n.file.Name, Line: rng.Start.Line, Column: rng.Start.Column, Path: path, Message: message}
}

// service writes the service of one group. What stands in the job stands in each of them,
// but its notes in the first one only.
func (n *nomadReader) service(g *group, first bool, names map[string]bool) {
	n.readNetwork(g)
	n.readServices(g)
	n.readTasks(g)
	n.readGroup(g)
	g.name = n.chooseName(g, names)

	var s strings.Builder
	all := n.all
	fromJob, instance := n.readJob(g)
	if !first {
		n.all = all
	}
	fmt.Fprintf(&s, "service %q {\n", g.name)
	s.WriteString(fromJob)
	s.WriteString(strings.Join(g.settings, ""))
	s.WriteString("\ninstance {\n")
	s.WriteString(strings.Trim(n.edits.text(g.from, g.to), "\n \t"))
	s.WriteString("\n" + instance + "}\n")
	for _, b := range g.blocks {
		s.WriteString("\n" + b)
	}
	s.WriteString("}\n\n")
	n.out.WriteString(s.String())
}

// chooseName prefers the name by which callers know the group in Consul.
func (n *nomadReader) chooseName(g *group, names map[string]bool) string {
	wanted := g.consulName
	if wanted == "" {
		wanted = n.job.Labels[0]
		if g.label != "" && g.several {
			wanted += "-" + g.label
		}
	}
	name := nameOf(wanted)
	for i := 2; names[name]; i++ {
		name = fmt.Sprintf("%s-%d", nameOf(wanted)[:min(len(nameOf(wanted)), 36)], i)
	}
	names[name] = true
	if name != wanted {
		g.settings = append(g.settings, n.note(g.def, "service.name", fmt.Sprintf("%q can't be the service's name, or is taken; it is %q here, and callers have to use that", wanted, name)))
	}
	return name
}

// readJob returns the settings of the service, and the inside of its instance, that come
// from the job.
func (n *nomadReader) readJob(g *group) (settings, instance string) {
	var s, in strings.Builder
	for _, it := range itemsOf(n.job.Body) {
		text := string(n.src[it.rng.Start.Byte:it.rng.End.Byte])
		switch it.name {
		case "group", "task", "type", "dynamic":
			if it.name == "dynamic" {
				s.WriteString(n.drop(it.rng, "job.dynamic"))
			}
		case "datacenters", "namespace", "node_pool", "priority":
			s.WriteString(n.before(it.rng) + text + n.after(it.rng) + "\n")
		case "constraint", "affinity", "spread", "reschedule", "vault", "consul":
			if g.has[it.name] && (it.name == "reschedule" || it.name == "vault" || it.name == "consul") {
				continue // The group's own wins in Nomad, too.
			}
			in.WriteString("\n" + n.before(it.rng) + text + "\n")
		case "meta":
			in.WriteString(n.jobMeta(g, it))
		default:
			if (it.name == "name" || it.name == "id") && it.attr != nil {
				if v, ok := literal(it.attr.Expr); ok && v == g.name {
					continue
				}
			}
			s.WriteString(n.drop(it.rng, "job."+it.name))
		}
	}
	return s.String(), in.String()
}

// jobMeta merges the job's meta into the group's, whose keys win.
func (n *nomadReader) jobMeta(g *group, it item) string {
	text := string(n.src[it.rng.Start.Byte:it.rng.End.Byte])
	if g.meta == nil {
		return "\n" + n.before(it.rng) + text + "\n"
	}
	if it.block == nil || g.meta.block == nil {
		return n.drop(it.rng, "job.meta")
	}
	var more strings.Builder
	for _, key := range itemsOf(it.block.Body) {
		if _, own := g.meta.block.Body.Attributes[key.name]; !own {
			more.WriteString(string(n.src[key.rng.Start.Byte:key.rng.End.Byte]) + "\n")
		}
	}
	if end := g.meta.block.CloseBraceRange.Start; more.Len() > 0 {
		n.openUp(g.meta.block)
		n.lines(hcl.Range{Start: end, End: end}, more.String())
	}
	return ""
}

// openUp gives the inside of a block on one line a line of its own, so that there may be
// others.
func (n *nomadReader) openUp(b *hclsyntax.Block) {
	if from, to := b.OpenBraceRange.End, b.CloseBraceRange.Start; from.Line == to.Line {
		n.replace(from.Byte, from.Byte, "\n")
		n.replace(to.Byte, to.Byte, "\n")
	}
}

// before is the user's comment right above rng, as whole lines.
func (n *nomadReader) before(rng hcl.Range) string {
	lines := strings.Split(string(n.src[:rng.Start.Byte]), "\n")
	from := len(lines) - 1
	if strings.TrimSpace(lines[from]) != "" {
		return ""
	}
	for from > 0 && isComment(lines[from-1]) {
		from--
	}
	out := ""
	for _, l := range lines[from : len(lines)-1] {
		out += strings.TrimSpace(l) + "\n"
	}
	return out
}

// after is the user's comment behind rng, on the same line.
func (n *nomadReader) after(rng hcl.Range) string {
	line, _, _ := strings.Cut(string(n.src[rng.End.Byte:]), "\n")
	if !isComment(line) {
		return ""
	}
	return " " + strings.TrimSpace(line)
}

func isComment(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//")
}

// drop returns the source in rng as a comment, with a note.
func (n *nomadReader) drop(rng hcl.Range, path string) string {
	return n.gone(n.file.Name, rng.Start.Line, rng.Start.Column, path) + commented(n.dedent(rng))
}

// dedent is the source in rng, without the indentation of its first line.
func (n *nomadReader) dedent(rng hcl.Range) string {
	text := string(n.src[rng.Start.Byte:rng.End.Byte])
	return strings.ReplaceAll(text, "\n"+strings.Repeat(" ", max(rng.Start.Column-1, 0)), "\n")
}

// note adds a note in other words than the table's.
func (n *nomadReader) note(rng hcl.Range, path, message string) string {
	return n.add(n.file.Name, rng.Start.Line, rng.Start.Column, path, message)
}

func (n *notes) sort() {
	slices.SortStableFunc(n.all, func(a, b wadi.Problem) int { return a.Line - b.Line })
	n.all = slices.Compact(n.all)
}

// item is an attribute or a block.
type item struct {
	name  string
	rng   hcl.Range
	attr  *hclsyntax.Attribute
	block *hclsyntax.Block
}

// itemsOf lists the attributes and blocks of a body in the order of the source.
func itemsOf(body *hclsyntax.Body) []item {
	var all []item
	for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
		a := body.Attributes[name]
		all = append(all, item{name: name, rng: a.SrcRange, attr: a})
	}
	for _, b := range body.Blocks {
		all = append(all, item{name: b.Type, rng: b.Range(), block: b})
	}
	slices.SortStableFunc(all, func(a, b item) int { return a.rng.Start.Byte - b.rng.Start.Byte })
	return all
}

// literal is the value of a string, number or bool that is written out.
func literal(e hclsyntax.Expression) (string, bool) {
	v, diags := e.Value(nil)
	if diags.HasErrors() || !v.IsWhollyKnown() || v.IsNull() || len(e.Variables()) > 0 {
		return "", false
	}
	return scalar(v)
}
