package jobspecs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/wadi-run/wadi"
)

// HasErrors reports whether some problem is more than a warning.
func HasErrors(problems []wadi.Problem) bool {
	return slices.ContainsFunc(problems, func(p wadi.Problem) bool { return !p.Warning })
}

// Bounds of one problem, in bytes. A label of a block may be as long as the file, and is in
// the path of every problem inside the block.
const (
	maxPath    = 500
	maxMessage = 4 << 10
)

func problemAt(rng hcl.Range, path, format string, args ...any) wadi.Problem {
	return wadi.Problem{
		File: rng.Filename, Line: rng.Start.Line, Column: rng.Start.Column,
		Path: cut(path, maxPath), Message: cut(fmt.Sprintf(format, args...), maxMessage),
	}
}

// cut ends a text that is longer than most bytes with an ellipsis.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// DiagnosticText is the message of a problem that HCL reports.
func DiagnosticText(d *hcl.Diagnostic) string {
	if d.Detail == "" {
		return d.Summary
	}
	return d.Summary + ": " + d.Detail
}

// FromDiagnostics turns what HCL complains about into problems. Those without a
// place of their own stand at fallback.
func FromDiagnostics(diags hcl.Diagnostics, path string, fallback hcl.Range) []wadi.Problem {
	var problems []wadi.Problem
	for _, d := range diags {
		rng := fallback
		if d.Subject != nil {
			rng = *d.Subject
		}
		p := problemAt(rng, path, "%s", DiagnosticText(d))
		p.Warning = d.Severity == hcl.DiagWarning
		problems = append(problems, p)
	}
	return problems
}

func sortProblems(problems []wadi.Problem) {
	slices.SortStableFunc(problems, func(a, b wadi.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
}

// maxProblems bounds the problems of one file; if there are more, they have one cause.
const maxProblems = 100

func bounded(problems []wadi.Problem) []wadi.Problem {
	if len(problems) <= maxProblems {
		return problems
	}
	last := problems[maxProblems-1]
	last.Path, last.Message = "", fmt.Sprintf("… and %d more problems from here on", len(problems)-maxProblems+1)
	return append(problems[:maxProblems-1:maxProblems-1], last)
}
