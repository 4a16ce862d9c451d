package system

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// literal is the value of an attribute that refers to nothing, in the type of its variable;
// cty.NilVal if there is none.
func literal(b *hclwrite.Block, attribute string) (cty.Value, error) {
	text := source(b, attribute)
	if text == "" {
		return cty.NilVal, nil
	}
	expr, diags := hclsyntax.ParseExpression([]byte(text), attribute, hcl.InitialPos)
	if diags.HasErrors() {
		return cty.NilVal, fmt.Errorf("read its %s: %w", attribute, diags)
	}
	v, diags := expr.Value(nil)
	if diags.HasErrors() {
		return cty.NilVal, fmt.Errorf("read its %s: %w", attribute, diags)
	}
	if v.Type().IsTupleType() {
		return convert.Convert(v, cty.List(cty.String))
	}
	return v, nil
}
