package jobspecs

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// variables reads the file's variable blocks into the scope, and returns those with a
// given value as a variable file for Nomad.
func (r *reader) variables(blocks hcl.Blocks, given map[string]string) string {
	r.declared, r.valueless = map[string]bool{}, map[string]bool{}
	r.scope = scope{variables: map[string]cty.Value{}, locals: map[string]*local{}, budget: r.scope.budget}
	out := hclwrite.NewEmptyFile()
	for _, b := range blocks {
		name := b.Labels[0]
		path := "var." + name
		if len(r.declared) == maxNames {
			r.addf(b.DefRange, path, "at most %d variables are possible", maxNames)
			break
		}
		if !hclsyntax.ValidIdentifier(name) {
			r.addf(b.LabelRanges[0], path, "%q can't be the name of a variable; begin with a letter and use letters, digits, _ and -", name)
			continue
		}
		if r.declared[name] {
			r.addf(b.DefRange, path, "variable %q is declared already", name)
			continue
		}
		r.declared[name] = true
		v, fromOutside := r.variable(b, path, given)
		r.scope.variables[name] = v
		r.valueless[name] = !v.IsWhollyKnown()
		if fromOutside && v.IsWhollyKnown() {
			out.Body().SetAttributeValue(name, v)
		}
	}
	return string(out.Bytes())
}

// variable evaluates one variable; unknown if it has no good value.
func (r *reader) variable(b *hcl.Block, path string, given map[string]string) (v cty.Value, fromOutside bool) {
	content, diags := b.Body.Content(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "type"}, {Name: "default"}, {Name: "description"}},
		Blocks:     []hcl.BlockHeaderSchema{{Type: "validation"}}, // Nomad's parser checks them.
	})
	r.addDiagnostics(diags, path, b.DefRange)
	typ := cty.NilType
	if a := content.Attributes["type"]; a != nil {
		t, diags := typeexpr.Type(a.Expr)
		r.addDiagnostics(diags, path+".type", a.Range)
		if diags.HasErrors() {
			return cty.DynamicVal, false
		}
		typ = t
	}
	v = cty.NilVal
	if a := content.Attributes["default"]; a != nil {
		var ok bool
		if v, ok = r.defaultValue(a, path+".default", typ); !ok {
			return cty.DynamicVal, false
		}
		if typ == cty.NilType {
			typ = v.Type()
		}
	}
	raw, fromOutside := given[b.Labels[0]]
	if fromOutside {
		value, err := r.parseValue(raw, typ)
		if err != nil {
			// The value may be a secret.
			r.addf(b.DefRange, path, "the given value does not fit: %s", err)
			return cty.DynamicVal, false
		}
		return value, true
	}
	if v == cty.NilVal {
		r.addf(b.DefRange, path, "variable %q has no value; give one with -var %s=…, or a default", b.Labels[0], b.Labels[0])
		return cty.DynamicVal, false
	}
	return v, false
}

// defaultValue evaluates the default of a variable, converted to typ, or of its own type
// if that is cty.NilType.
func (r *reader) defaultValue(a *hcl.Attribute, path string, typ cty.Type) (v cty.Value, ok bool) {
	value, diags := r.scope.constant(a.Expr)
	r.addDiagnostics(diags, path, a.Range)
	if diags.HasErrors() || r.scope.budget.exceeded != "" {
		return cty.DynamicVal, false
	}
	if typ == cty.NilType {
		return value, true
	}
	converted, err := convert.Convert(value, typ)
	if err != nil {
		r.addf(a.Expr.Range(), path, "the default does not have the variable's type: %s", err)
		return cty.DynamicVal, false
	}
	return converted, true
}

// parseValue reads a value from the command line as Nomad does: for a string or a number
// the text itself, otherwise an expression.
func (r *reader) parseValue(raw string, typ cty.Type) (cty.Value, error) {
	switch typ {
	case cty.NilType:
		return cty.StringVal(raw), nil
	case cty.String, cty.Number, cty.Bool:
		return convert.Convert(cty.StringVal(raw), typ)
	}
	if _, deep := tooDeep(File{Source: []byte(raw)}); deep {
		return cty.NilVal, fmt.Errorf("it is nested too deeply")
	}
	expr, diags := hclsyntax.ParseExpression([]byte(raw), "value", hcl.Pos{Line: 1, Column: 1})
	if diags.HasErrors() {
		return cty.NilVal, fmt.Errorf("write it as in HCL: %s", diags[0].Detail)
	}
	v, diags := r.scope.constant(expr)
	if diags.HasErrors() {
		return cty.NilVal, fmt.Errorf("write it as in HCL: %s", diags[0].Detail)
	}
	if r.scope.budget.exceeded != "" {
		return cty.NilVal, errors.New(r.scope.budget.exceeded)
	}
	return convert.Convert(v, typ)
}

// locals puts the file's locals into the scope. They are evaluated when something outside
// of the instance block refers to them: locals that only the instance needs may use
// everything that Nomad has and Wadi does not.
func (r *reader) locals(blocks hcl.Blocks) {
	for _, b := range blocks {
		attrs, diags := b.Body.JustAttributes()
		r.addDiagnostics(diags, "locals", b.DefRange)
		for _, name := range slices.Sorted(maps.Keys(attrs)) {
			a := attrs[name]
			if len(r.scope.locals) == maxNames {
				r.addf(a.NameRange, "local."+name, "at most %d locals are possible", maxNames)
				return
			}
			if first := r.scope.locals[name]; first != nil {
				r.addf(a.NameRange, "local."+name, "local %q is defined already, at line %d", name, first.expr.Range().Start.Line)
				continue
			}
			r.scope.locals[name] = &local{expr: a.Expr}
		}
	}
}
