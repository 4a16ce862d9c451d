package admission

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/wadi-run/wadi/jobspecs"
)

// Error is a refusal: the same request would be refused again until either it
// or what is stored changes.
type Error struct {
	Status  int // An HTTP status: 400, 409, 413 or 422.
	Message string
	Details []Detail
}

// Detail is one mistake, where it stands in the user's files if that is known.
type Detail struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"` // For instance scale.max.
	Message string `json:"message"`
}

// Error is the message followed by every detail on a line of its own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, d := range e.Details {
		b.WriteString("\n" + d.String())
	}
	return b.String()
}

// String is, for instance, "hello.hcl:12,3: scale.max: must be a number".
func (d Detail) String() string {
	var b strings.Builder
	if d.File != "" {
		b.WriteString(d.File)
		if d.Line > 0 {
			fmt.Fprintf(&b, ":%d", d.Line)
			if d.Column > 0 {
				fmt.Fprintf(&b, ",%d", d.Column)
			}
		}
		b.WriteString(": ")
	}
	if d.Path != "" {
		b.WriteString(d.Path + ": ")
	}
	b.WriteString(d.Message)
	return b.String()
}

func detailOf(p jobspecs.Problem) Detail {
	return Detail{File: p.File, Line: p.Line, Column: p.Column, Path: p.Path, Message: p.Message}
}

// refusals gathers what is wrong with several services.
type refusals struct {
	conflict bool
	details  []Detail
}

func (r *refusals) invalid(c *candidate, path, format string, args ...any) {
	r.details = append(r.details, detailOf(c.draft.At(path, format, args...)))
}

// clash is a refusal that comes from what others did in the meantime.
func (r *refusals) clash(c *candidate, path, format string, args ...any) {
	r.conflict = true
	r.invalid(c, path, format, args...)
}

func (r *refusals) err() error {
	switch {
	case len(r.details) == 0:
		return nil
	case r.conflict:
		return &Error{Status: http.StatusConflict, Message: "conflict with what is stored", Details: r.details}
	}
	return &Error{Status: http.StatusUnprocessableEntity, Message: "refused", Details: r.details}
}
