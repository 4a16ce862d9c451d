// Package convert turns a Nomad job, or a Knative or Cloud Run service, into a service of
// Wadi in HCL.
//
// It promises that nothing is dropped silently: what does not carry over stands in the
// result as a comment, with its place in the source and the reason, and is returned as a
// note. What it does not know is kept where Nomad's parser judges it, or named. It is
// pure: it reads no files, asks no cluster, and does not evaluate expressions, which are
// copied as they stand.
package convert

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// MaxSource bounds the source, so that the result can be submitted.
const MaxSource = 1 << 20

// Result is a converted file.
type Result struct {
	HCL   []byte         // Formatted.
	Notes []wadi.Problem // What needs a look, in the order of the source; all are warnings.
}

// Convert converts one file. Its kind follows from its name and content. The problems say
// why there is no result, or which mistakes the result has.
func Convert(f jobspecs.File) (Result, []wadi.Problem) {
	if len(f.Source) > MaxSource {
		return Result{}, []wadi.Problem{{File: f.Name, Line: 1, Message: fmt.Sprintf("the file has %d bytes, at most %d can be converted", len(f.Source), MaxSource)}}
	}
	var r Result
	var problems []wadi.Problem
	switch kindOf(f) {
	case kindYAML:
		r, problems = knative(f)
	case kindJSON:
		r, problems = nomadJSON(f)
	default:
		r, problems = nomadHCL(f)
	}
	if jobspecs.HasErrors(problems) {
		return Result{}, problems
	}
	r.HCL = append(bytes.TrimRight(hclwrite.Format(r.HCL), "\n"), '\n')
	for _, p := range jobspecs.LiteralSecrets(jobspecs.File{Name: "the result", Source: r.HCL}) {
		p.Message, p.Warning = "Wadi refuses this: "+p.Message, true
		r.Notes = append(r.Notes, p)
	}
	return r, check(r.HCL)
}

// check finds what keeps the result from being submitted, as far as that is known without
// Nomad's parser. The places are those in the result.
func check(src []byte) (errors []wadi.Problem) {
	_, problems := jobspecs.Parse(jobspecs.File{Name: "the result", Source: src}, jobspecs.Options{})
	for _, p := range problems {
		if !p.Warning {
			errors = append(errors, p)
		}
	}
	return errors
}

type kind int

const (
	kindHCL kind = iota
	kindJSON
	kindYAML
)

func kindOf(f jobspecs.File) kind {
	trimmed := bytes.TrimSpace(f.Source)
	switch ext := strings.ToLower(filepath.Ext(f.Name)); {
	case ext == ".yaml" || ext == ".yml":
		return kindYAML
	case bytes.HasPrefix(trimmed, []byte("{")) && bytes.Contains(trimmed, []byte(`"apiVersion"`)):
		return kindYAML // JSON is YAML.
	case bytes.HasPrefix(trimmed, []byte("{")):
		return kindJSON
	case bytes.HasPrefix(trimmed, []byte("apiVersion:")) || bytes.Contains(trimmed, []byte("\napiVersion:")):
		return kindYAML
	}
	return kindHCL
}

// Setting is one setting elsewhere, and what it is here.
type Setting struct {
	Name string // Several that have one fate are separated by ", ".
	Here string // Its name in Wadi; empty if it does not carry over.
	Why  string
}

// find returns the row of a setting; ok is false if it is not known.
func find(table []Setting, name string) (Setting, bool) {
	for _, s := range table {
		for one := range strings.SplitSeq(s.Name, ", ") {
			if one == name {
				return s, true
			}
		}
	}
	return Setting{}, false
}

// notes collects what needs a look.
type notes struct {
	table  []Setting
	all    []wadi.Problem
	lineOf func(line int) int // The line in the source, if that is not what was read.
}

// gone notes a setting that does not carry over, and returns the comment about it.
func (n *notes) gone(file string, line, column int, path string) string {
	return n.goneAs(file, line, column, path, path)
}

// goneAs is gone for a setting whose row in the table has another name.
func (n *notes) goneAs(file string, line, column int, path, row string) string {
	s, ok := find(n.table, row)
	why := "unknown to wadi convert; see whether the service needs it"
	switch {
	case ok && s.Here != "":
		why = fmt.Sprintf("here %s: %s", s.Here, s.Why)
	case ok:
		why = "not carried over: " + s.Why
	}
	return n.add(file, line, column, path, why)
}

func (n *notes) add(file string, line, column int, path, message string) string {
	if n.lineOf != nil && line > 0 {
		line = n.lineOf(line)
	}
	p := wadi.Problem{File: file, Line: line, Column: column, Path: path, Message: message, Warning: true}
	n.all = append(n.all, p)
	at := file
	if line > 0 {
		at = fmt.Sprintf("%s:%d", file, line)
	}
	return comment(fmt.Sprintf("%s: %s: %s.", at, path, strings.TrimSuffix(message, ".")))
}

// comment makes comment lines of text, each with its newline.
func comment(text string) string {
	const width = 110
	var out strings.Builder
	length := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			out.WriteString("# ")
		case length+1+len(word) > width:
			out.WriteString("\n#   ")
			length = 2
		default:
			out.WriteByte(' ')
			length++
		}
		out.WriteString(word)
		length += len(word)
	}
	return out.String() + "\n"
}

// commented is source text as comment lines, at the left margin as Format indents them.
func commented(text string) string {
	var out strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		out.WriteString(strings.TrimRight("#   "+strings.TrimRight(line, "\r"), " ") + "\n")
	}
	return out.String()
}

// nameOf makes a name that a service may have out of any name.
func nameOf(s string) string {
	var out strings.Builder
	for _, c := range strings.ToLower(s) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			out.WriteRune(c)
		} else {
			out.WriteByte('-')
		}
	}
	name := strings.Trim(out.String(), "-")
	if strings.HasPrefix(name, "wadi") {
		name = "my-" + name
	}
	name = strings.Trim(name[:min(len(name), 40)], "-")
	if _, _, looksLikeRevision := wadi.SplitRevisionID(name); looksLikeRevision {
		name = strings.ReplaceAll(name, "-", "")
	}
	if name == "" {
		return "service"
	}
	return name
}

// head begins every result.
func head(file string) string {
	return comment(fmt.Sprintf("Converted from %s by wadi convert. Comments that begin with its name say what differs here; "+
		"remove them when you have read them, and try the file with wadi validate.", file)) + "\n"
}
