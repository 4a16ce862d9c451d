package wadi

import "fmt"

// Problem is one mistake in a user's files, or one warning about them.
type Problem struct {
	File    string `json:"file,omitempty"`   // Empty: unknown, or of no file.
	Line    int    `json:"line,omitempty"`   // From 1; 0: of no line.
	Column  int    `json:"column,omitempty"` // From 1, in characters; 0: of the whole line.
	Path    string `json:"path,omitempty"`   // Of the setting, for instance scale.max.
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"` // The file can be submitted all the same.
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
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, s)
	}
	return fmt.Sprintf("%s:%d,%d: %s", p.File, p.Line, p.Column, s)
}
