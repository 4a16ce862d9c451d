package jobspecs

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/wadi-run/wadi"
)

// Format lays out src as is usual for HCL. If src can't be parsed it is returned
// unchanged, with the problems, which name no file.
func Format(src []byte) ([]byte, []wadi.Problem) {
	if p, deep := tooDeep(File{Source: src}); deep {
		return src, []wadi.Problem{p}
	}
	start := hcl.Pos{Line: 1, Column: 1}
	if _, diags := hclsyntax.ParseConfig(src, "", start); diags.HasErrors() {
		return src, bounded(FromDiagnostics(diags, "", hcl.Range{Start: start}))
	}
	return hclwrite.Format(src), nil
}
