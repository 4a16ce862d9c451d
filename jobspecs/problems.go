package jobspecs

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// Problem is one mistake in a file, and its place.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // From 1; 0 if it is about no line.
	Column  int    `json:"column"` // From 1, in characters.
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"` // The file can be submitted nevertheless.
}

// String is, for instance, `hello.hcl:12,3: scale.max: 2 is below scale.min (3)`.
func (p Problem) String() string {
	s := p.Message
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Warning {
		s = "warning: " + s
	}
	switch {
	case p.File == "":
		return s
	case p.Line == 0:
		return p.File + ": " + s
	}
	return fmt.Sprintf("%s:%d,%d: %s", p.File, p.Line, p.Column, s)
}

// HasErrors reports whether some problem is more than a warning.
func HasErrors(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

func problemAt(rng hcl.Range, path, format string, args ...any) Problem {
	return Problem{
		File: rng.Filename, Line: rng.Start.Line, Column: rng.Start.Column,
		Path: path, Message: fmt.Sprintf(format, args...),
	}
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
func FromDiagnostics(diags hcl.Diagnostics, path string, fallback hcl.Range) []Problem {
	var problems []Problem
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

func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
}

// maxProblems bounds the problems of one file; if there are more, they have one cause.
const maxProblems = 100

func bounded(problems []Problem) []Problem {
	if len(problems) <= maxProblems {
		return problems
	}
	last := problems[maxProblems-1]
	last.Path, last.Message = "", fmt.Sprintf("… and %d more problems from here on", len(problems)-maxProblems+1)
	return append(problems[:maxProblems-1:maxProblems-1], last)
}
