package jobspecs

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Constants reads HCL other than services, such as an agent's configuration, within the
// same bounds. The zero value is ready.
type Constants struct{ scope scope }

// Body parses a file. It refuses one that is nested too deeply, before it is parsed.
func (c *Constants) Body(f File) (hcl.Body, hcl.Diagnostics) {
	if p, deep := tooDeep(f); deep {
		at := hcl.Pos{Line: p.Line, Column: p.Column}
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: p.Message, Subject: &hcl.Range{Filename: f.Name, Start: at, End: at},
		}}
	}
	parsed, diags := hclsyntax.ParseConfig(f.Source, f.Name, hcl.InitialPos)
	return parsed.Body, diags
}

// Value evaluates an expression that may not refer to anything.
func (c *Constants) Value(e hcl.Expression) (cty.Value, hcl.Diagnostics) {
	v, diags := c.scope.constant(e)
	if m := c.scope.budget; m.exceeded != "" && !diags.HasErrors() {
		return v, m.diagnostics(e.Range())
	}
	return v, diags
}
