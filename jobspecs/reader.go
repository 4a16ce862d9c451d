package jobspecs

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
)

// reader collects the settings of one file, and its problems.
type reader struct {
	file     File
	limits   Limits
	scope    scope
	problems []wadi.Problem

	ranges   map[string]hcl.Range // Places of the present service's settings, by path.
	bad      map[string]bool      // Settings with refused values.
	declared map[string]bool      // Names of variables.

	valueless map[string]bool // Variables without a good value.
	twice     [][2]int        // Lines and columns of settings that stand twice in a block.
}

// setting is one attribute: read stores its value, or returns what is wrong with it.
type setting struct {
	name string
	read func(v cty.Value) error
}

// nested is one kind of block inside another.
type nested struct {
	name  string
	label string // The meaning of its label, if it has one.
	many  bool
	read  func(b *hcl.Block, path string)
}

func (r *reader) addf(rng hcl.Range, path, format string, args ...any) {
	r.problems = append(r.problems, problemAt(rng, path, format, args...))
}

func (r *reader) addDiagnostics(diags hcl.Diagnostics, path string, fallback hcl.Range) {
	r.problems = append(r.problems, FromDiagnostics(diags, path, fallback)...)
}

// body reads the allowed settings and blocks, and refuses all others.
func (r *reader) body(b hcl.Body, path string, settings []setting, blocks []nested) {
	schema := &hcl.BodySchema{}
	for _, s := range settings {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: s.name})
	}
	for _, n := range blocks {
		h := hcl.BlockHeaderSchema{Type: n.name}
		if n.label != "" {
			h.LabelNames = []string{n.label}
		}
		schema.Blocks = append(schema.Blocks, h)
	}
	content, diags := b.Content(schema)
	for _, d := range diags {
		r.misplaced(d, path, hintsFor(path), namesOf(schema), b.MissingItemRange())
	}
	for _, s := range settings {
		if attr := content.Attributes[s.name]; attr != nil {
			r.attribute(attr, join(path, s.name), s.read)
		}
	}
	byType := content.Blocks.ByType()
	for _, n := range blocks {
		r.blocks(byType[n.name], n, path)
	}
}

func namesOf(schema *hcl.BodySchema) (names []string) {
	for _, a := range schema.Attributes {
		names = append(names, a.Name)
	}
	for _, b := range schema.Blocks {
		names = append(names, b.Type)
	}
	return names
}

// pathOf is the path of the setting that d is about, if d points at its name.
func (r *reader) pathOf(path string, d *hcl.Diagnostic) string {
	if d.Subject == nil || !d.Subject.CanSliceBytes(r.file.Source) {
		return path
	}
	if name := string(d.Subject.SliceBytes(r.file.Source)); hclsyntax.ValidIdentifier(name) {
		return join(path, name)
	}
	return path
}

func (r *reader) attribute(attr *hcl.Attribute, path string, read func(cty.Value) error) {
	rng := attr.Expr.Range()
	r.ranges[path] = rng
	v, diags := r.scope.value(attr.Expr)
	r.addDiagnostics(diags, path, rng)
	if diags.HasErrors() || !v.IsWhollyKnown() { // An unknown value has been reported at its origin.
		r.bad[path] = true
		return
	}
	if v.IsNull() {
		delete(r.ranges, path) // Null is the same as not set.
		return
	}
	if err := read(v); err != nil {
		r.bad[path] = true
		mistakes := []error{err}
		if all, ok := err.(interface{ Unwrap() []error }); ok { // One of each element.
			mistakes = all.Unwrap()
		}
		for _, m := range mistakes {
			r.addf(rng, path, "%s", m)
		}
	}
}

// good reports whether none of the settings was refused, so that they can be compared.
func (r *reader) good(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(p string) bool { return r.bad[p] })
}

// begin forgets the previous service.
func (r *reader) begin() {
	r.ranges, r.bad = map[string]hcl.Range{}, map[string]bool{}
}

func (r *reader) blocks(found hcl.Blocks, n nested, path string) {
	for i, b := range found {
		p := join(path, n.name)
		switch {
		case n.label != "":
			p = join(p, b.Labels[0])
		case n.many:
			if i == 0 {
				r.ranges[p] = b.DefRange
			}
			p = fmt.Sprintf("%s[%d]", p, i)
		}
		if i > 0 && !n.many {
			r.addf(b.DefRange, p, "only one %s block may stand here; the first is at line %d", n.name, found[0].DefRange.Start.Line)
			continue
		}
		if _, twice := r.ranges[p]; twice && n.label != "" {
			r.addf(b.DefRange, p, "there is a block %s %q already%s", n.name, b.Labels[0], atLine(", ", r.ranges[p]))
			continue
		}
		r.ranges[p] = b.DefRange
		n.read(b, p)
	}
}

// at is the place of a setting; if its value is a default, that of the nearest block
// around it in the file.
func (r *reader) at(path string, service hcl.Range) hcl.Range {
	for p := path; p != ""; p = parent(p) {
		if rng, ok := r.ranges[p]; ok {
			return rng
		}
	}
	return service
}

// origin says where the value of a setting comes from, for problems between two settings.
func (r *reader) origin(path string) string {
	rng, ok := r.ranges[path]
	switch {
	case !ok:
		return "by default"
	case rng.Start.Line == 0:
		return "in the service" // It is a document, without lines.
	}
	return fmt.Sprintf("at line %d", rng.Start.Line)
}

// atLine is the place of another setting, for problems about two; empty in a document,
// which has no lines.
func atLine(before string, rng hcl.Range) string {
	if rng.Start.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%sat line %d", before, rng.Start.Line)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func parent(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '.' {
			return path[:i]
		}
	}
	return ""
}
