package jobspecs

import (
	"fmt"
	"math/big"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// A kilobyte of HCL can require any amount of memory and time: locals that double each
// other, nested loops, a function that repeats. So every value is charged when it is made,
// to one budget for all files of a submission.

// Bounds of expressions outside the instance block. Few specs need more than some
// kilobytes.
const (
	maxWork  = 4 << 20 // Bytes of all values, intermediate ones included.
	maxNest  = 100     // Depth of nested values.
	maxNames = 1000    // Number of variables of a file, and of locals.

	perValue = 32 // Charge of a value besides its text.
)

// budget is the remaining work of evaluations.
type budget struct {
	remaining int
	exceeded  string // Why evaluation stopped; empty while it goes on.
	reported  bool
}

func newBudget(work int) *budget { return &budget{remaining: work} }

// spend takes n from the budget, and reports whether that was enough.
func (m *budget) spend(n int) bool {
	if m.exceeded == "" && (n < 0 || n > m.remaining) {
		m.stop("the expressions make more than %d KiB of values", maxWork>>10)
	}
	m.remaining -= n
	return m.exceeded == ""
}

func (m *budget) stop(format string, args ...any) {
	if m.exceeded == "" {
		m.exceeded = fmt.Sprintf(format, args...)
	}
}

func (m *budget) diagnostics(rng hcl.Range) hcl.Diagnostics {
	return hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: "Too much to evaluate", Subject: &rng,
		Detail: m.exceeded + "; outside the instance block write the value, or less of it.",
	}}
}

// value evaluates e. It reports only once that the budget is exceeded.
func (m *budget) value(e hcl.Expression, ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	var v cty.Value
	var diags hcl.Diagnostics
	if m.exceeded == "" {
		if x, ok := e.(hclsyntax.Expression); ok {
			e = m.wrap(x)
		}
		if v, diags = e.Value(ctx); m.exceeded == "" {
			return v, diags
		}
	}
	if m.reported {
		return cty.DynamicVal, nil
	}
	m.reported = true
	return cty.DynamicVal, m.diagnostics(e.Range())
}

// charge takes the size of a value and everything in it from the budget.
func (m *budget) charge(v cty.Value, depth int) bool {
	if depth > maxNest {
		m.stop("a value is nested more than %d deep", maxNest)
	}
	if !m.spend(perValue) || !v.IsKnown() || v.IsNull() {
		return m.exceeded == ""
	}
	switch t := v.Type(); {
	case t == cty.String:
		return m.spend(len(v.AsString()))
	case t == cty.Number:
		return m.spend(digits(v.AsBigFloat()))
	case !v.CanIterateElements():
		return true
	}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if k.Type() == cty.String && !m.spend(len(k.AsString())) || !m.charge(e, depth+1) {
			return false
		}
	}
	return true
}

// digits is the length of a number when it is written out.
func digits(f *big.Float) int {
	if f.IsInf() {
		return 1
	}
	exponent := f.MantExp(nil)
	return max(exponent, -exponent) / 3
}

// metered is an expression whose value is charged.
type metered struct {
	hclsyntax.Expression
	budget *budget
}

// Value implements hcl.Expression.
func (x *metered) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	m := x.budget
	if t, ok := x.Expression.(*hclsyntax.TemplateExpr); ok {
		m.parts(t, ctx)
	}
	if m.exceeded != "" {
		return cty.DynamicVal, m.diagnostics(x.Range())
	}
	v, diags := x.Expression.Value(ctx)
	if !m.charge(v, 0) {
		return cty.DynamicVal, m.diagnostics(x.Range())
	}
	return v, diags
}

// UnwrapExpression lets HCL see the original expression.
func (x *metered) UnwrapExpression() hcl.Expression { return x.Expression }

// parts charges the variables in a text before it is put together: until then they share
// their memory.
func (m *budget) parts(t *hclsyntax.TemplateExpr, ctx *hcl.EvalContext) {
	for _, p := range t.Parts {
		switch p.(type) {
		case *metered, *hclsyntax.LiteralValueExpr: // Charged already, or in the file.
			continue
		}
		if v, diags := p.Value(ctx); !diags.HasErrors() && !m.charge(v, 0) {
			return
		}
	}
}

// wrap makes every part of e metered. It changes e, but not its meaning or variables.
func (m *budget) wrap(e hclsyntax.Expression) hclsyntax.Expression {
	switch x := e.(type) {
	case nil, *metered, *hclsyntax.ScopeTraversalExpr, *hclsyntax.AnonSymbolExpr:
		return e
	case *hclsyntax.LiteralValueExpr:
		if x.Val.Type() != cty.Number || !x.Val.IsKnown() || x.Val.IsNull() {
			return e // Its text is in the file.
		}
	case *hclsyntax.ParenthesesExpr:
		x.Expression = m.wrap(x.Expression)
	case *hclsyntax.RelativeTraversalExpr:
		x.Source = m.wrap(x.Source)
	case *hclsyntax.FunctionCallExpr:
		for i, a := range x.Args {
			if x.Name != "convert" || i == 0 { // The second argument is a type, not a value.
				x.Args[i] = m.wrap(a)
			}
		}
	case *hclsyntax.ConditionalExpr:
		x.Condition, x.TrueResult, x.FalseResult = m.wrap(x.Condition), m.wrap(x.TrueResult), m.wrap(x.FalseResult)
	case *hclsyntax.IndexExpr:
		x.Collection, x.Key = m.wrap(x.Collection), m.wrap(x.Key)
	case *hclsyntax.BinaryOpExpr:
		x.LHS, x.RHS = m.wrap(x.LHS), m.wrap(x.RHS)
	case *hclsyntax.UnaryOpExpr:
		x.Val = m.wrap(x.Val)
	default:
		m.wrapMany(e)
	}
	return &metered{Expression: e, budget: m}
}

// wrapMany is wrap for expressions that make collections or texts.
func (m *budget) wrapMany(e hclsyntax.Expression) {
	switch x := e.(type) {
	case *hclsyntax.TupleConsExpr:
		for i, v := range x.Exprs {
			x.Exprs[i] = m.wrap(v)
		}
	case *hclsyntax.ObjectConsExpr:
		for i, item := range x.Items {
			if k, ok := item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); ok {
				k.Wrapped = m.wrap(k.Wrapped)
			}
			x.Items[i].ValueExpr = m.wrap(item.ValueExpr)
		}
	case *hclsyntax.ForExpr:
		x.CollExpr, x.KeyExpr, x.ValExpr, x.CondExpr = m.wrap(x.CollExpr), m.wrap(x.KeyExpr), m.wrap(x.ValExpr), m.wrap(x.CondExpr)
	case *hclsyntax.SplatExpr:
		x.Source, x.Each = m.wrap(x.Source), m.wrap(x.Each)
	case *hclsyntax.TemplateExpr:
		for i, p := range x.Parts {
			x.Parts[i] = m.wrap(p)
		}
	case *hclsyntax.TemplateWrapExpr:
		x.Wrapped = m.wrap(x.Wrapped)
	case *hclsyntax.TemplateJoinExpr:
		x.Tuple = m.wrap(x.Tuple)
	}
}
