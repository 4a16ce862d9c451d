package jobspecs

import (
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// within is the place of a setting below a block: steps are the names of blocks with their
// labels, and of attributes, for instance task, web, template[1] and data. If it is not in
// the file, as an expression or a dynamic block makes it, it is that of the nearest block
// around it, and exact is false.
func within(b *hclsyntax.Block, steps []string) (place hcl.Range, exact bool) {
	if len(steps) == 0 {
		return b.DefRange(), true
	}
	name, index := indexed(steps[0])
	if a := b.Body.Attributes[name]; a != nil {
		return inExpression(a.Expr, steps[1:]), true
	}
	place, candidates, made := b.DefRange(), 0, false
	for _, c := range b.Body.Blocks {
		made = made || c.Type == "dynamic" && len(c.Labels) == 1 && c.Labels[0] == name
		if c.Type != name {
			continue
		}
		rest := steps[1:]
		if len(c.Labels) > 0 {
			if len(rest) == 0 || c.Labels[0] != rest[0] {
				continue
			}
			rest = rest[1:]
		}
		at, found := within(c, rest)
		if found && (index < 0 || index == candidates) {
			return at, true
		}
		if candidates == max(index, 0) {
			place = at
		}
		candidates++
	}
	if made || index < 0 && candidates > 1 {
		return b.DefRange(), false
	}
	return place, false
}

// splitPath is the steps of a path in the instance, from the instance on.
func splitPath(path string) []string {
	return strings.Split(strings.TrimPrefix(path, "instance."), ".")
}

// inExpression is the place of an element of a map or a list that is written as one.
func inExpression(e hclsyntax.Expression, steps []string) hcl.Range {
	if len(steps) == 0 {
		return e.Range()
	}
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return e.Range()
	}
	name, _ := indexed(steps[0])
	for _, item := range object.Items {
		if k, diags := item.KeyExpr.Value(nil); !diags.HasErrors() && k.Type() == cty.String && k.IsKnown() && !k.IsNull() && k.AsString() == name {
			return inExpression(item.ValueExpr, steps[1:])
		}
	}
	return e.Range()
}

// indexed splits template[1] into template and 1; -1: no index.
func indexed(step string) (name string, index int) {
	name, rest, ok := strings.Cut(step, "[")
	if !ok {
		return step, -1
	}
	index, err := strconv.Atoi(strings.TrimSuffix(rest, "]"))
	if err != nil || index < 0 {
		return step, -1
	}
	return name, index
}
