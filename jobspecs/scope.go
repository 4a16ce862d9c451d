package jobspecs

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// scope evaluates expressions outside of the instance block.
type scope struct {
	variables map[string]cty.Value
	locals    map[string]*local

	runtime bool // Keep references that only Nomad can resolve, as text.

	budget    *budget                      // Nil: a budget of its own.
	functions map[string]function.Function // Bound to meter.
	values    cty.Value                    // The variables as a value; NilVal until it is needed.
}

// prepare makes what all evaluations share.
func (s *scope) prepare() {
	if s.budget == nil {
		s.budget = newBudget(maxWork)
	}
	if s.functions == nil {
		s.functions = functions(s.budget)
	}
	if s.values == cty.NilVal {
		s.values = cty.ObjectVal(s.variables)
	}
}

// constant evaluates an expression that may not refer to anything.
func (s *scope) constant(e hcl.Expression) (cty.Value, hcl.Diagnostics) {
	if s.budget == nil {
		s.budget = newBudget(maxWork)
	}
	return s.budget.value(e, nil)
}

type local struct {
	expr    hcl.Expression
	value   cty.Value // NilVal until it is needed.
	running bool
}

// value evaluates an expression. A problem in a local is reported once; after that the
// local is an unknown value.
func (s *scope) value(e hcl.Expression) (cty.Value, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	locals := map[string]cty.Value{}
	for _, t := range e.Variables() {
		if t.RootName() != "local" {
			continue
		}
		for _, name := range s.names(t) {
			v, more := s.local(name, e.Range())
			diags = append(diags, more...)
			locals[name] = v
		}
	}
	s.prepare()
	s.budget.spend(len(locals) * perValue)
	known := map[string]cty.Value{"var": s.values, "local": cty.ObjectVal(locals)}
	if s.runtime {
		known = references(e.Variables())
	}
	v, more := s.budget.value(e, &hcl.EvalContext{Functions: s.functions, Variables: known})
	if more.HasErrors() {
		more = s.explain(e, more)
	}
	return v, append(diags, more...)
}

// explain replaces HCL's complaints about references to what is not in the file.
func (s *scope) explain(e hcl.Expression, diags hcl.Diagnostics) hcl.Diagnostics {
	better := s.undeclared(e)
	if len(better) == 0 {
		return diags
	}
	for _, d := range diags {
		if d.Summary != "Unknown variable" && d.Summary != "Unsupported attribute" {
			better = append(better, d)
		}
	}
	return better
}

// undeclared finds references to what is not in the file.
func (s *scope) undeclared(e hcl.Expression) (diags hcl.Diagnostics) {
	if s.runtime {
		return nil
	}
	for _, t := range e.Variables() {
		if name := t.RootName(); name != "var" && name != "local" {
			rng := t.SourceRange()
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Unknown name", Subject: &rng,
				Detail: fmt.Sprintf("There is no %s here; a text stands in quotes (%q), a variable is var.NAME, a local is local.NAME", name, name),
			})
		}
		if len(t) < 2 {
			continue
		}
		a, ok := t[1].(hcl.TraverseAttr)
		if !ok {
			continue
		}
		what, add := "", ""
		switch _, declared := s.variables[a.Name]; {
		case t.RootName() == "var" && !declared:
			what, add = "variable", fmt.Sprintf("variable %q {}", a.Name)
		case t.RootName() == "local" && s.locals[a.Name] == nil:
			what, add = "local", fmt.Sprintf("locals { %s = … }", a.Name)
		default:
			continue
		}
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Unknown " + what, Subject: &a.SrcRange,
			Detail: fmt.Sprintf("There is no %s %q in this file; add: %s", what, a.Name, add),
		})
	}
	return diags
}

// references gives every reference its own text as its value.
func references(all []hcl.Traversal) map[string]cty.Value {
	type node map[string]any
	root := node{}
	for _, t := range all {
		at, text := root, t.RootName()
		name := text
		for _, step := range t[1:] {
			a, ok := step.(hcl.TraverseAttr)
			if !ok {
				break
			}
			next, ok := at[name].(node)
			if !ok {
				next = node{}
				at[name] = next
			}
			at, name, text = next, a.Name, text+"."+a.Name
		}
		if _, deeper := at[name]; !deeper {
			at[name] = "${" + text + "}"
		}
	}
	var value func(v any) cty.Value
	value = func(v any) cty.Value {
		if s, ok := v.(string); ok {
			return cty.StringVal(s)
		}
		m := map[string]cty.Value{}
		for k, e := range v.(node) {
			m[k] = value(e)
		}
		return cty.ObjectVal(m)
	}
	known := map[string]cty.Value{}
	for k, v := range root {
		known[k] = value(v)
	}
	return known
}

// names lists the locals that t refers to.
func (s *scope) names(t hcl.Traversal) []string {
	var names []string
	if len(t) > 1 {
		if a, ok := t[1].(hcl.TraverseAttr); ok {
			if s.locals[a.Name] != nil {
				names = append(names, a.Name)
			}
			return names
		}
	}
	for name := range s.locals {
		names = append(names, name)
	}
	return names
}

func (s *scope) local(name string, from hcl.Range) (cty.Value, hcl.Diagnostics) {
	l := s.locals[name]
	if l.value != cty.NilVal {
		return l.value, nil
	}
	if l.running {
		return cty.DynamicVal, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Circular reference",
			Detail: fmt.Sprintf("local.%s refers to itself.", name), Subject: &from,
		}}
	}
	l.running = true
	v, diags := s.value(l.expr)
	if diags.HasErrors() {
		v = cty.DynamicVal
	}
	l.value = v
	return v, diags
}
