package jobspecs

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/wadi-run/wadi"
)

// NomadSource is the input for Nomad's parser: a job with the draft's instance as its only
// group, and the values of variables as a variable file (JobHCL and Variables of POST
// /v1/jobs/parse; leave Canonicalize off).
//
// Everything in it is on the same line and column as in the user's file, so that Nomad's
// complaints have the right places.
func (d *Draft) NomadSource() (jobHCL, variables string) {
	l := &layout{src: d.file.Source, line: 1, column: 1}
	for _, b := range d.root.Blocks {
		switch {
		case b.Type == "variable" || b.Type == "locals":
			l.keep(b.Range())
		case b == d.service:
			// Words of the same length, so that the rest of the line stays in place.
			l.put(b.TypeRange, "job    ")
			l.keep(b.LabelRanges[0])
			l.keep(b.OpenBraceRange)
			l.put(d.instance.TypeRange, "group  "+groupLabel)
			l.keep(hcl.RangeBetween(d.instance.OpenBraceRange, d.instance.CloseBraceRange))
			l.keep(b.CloseBraceRange)
		}
	}
	l.out.WriteByte('\n')
	return l.out.String(), d.variables
}

// groupLabel is the group's name for Nomad's parser: short enough for "instance" to become
// "group  i". Complete sets the real name.
const groupLabel = "i"

// layout writes pieces of a source at their original places.
type layout struct {
	src          []byte
	out          strings.Builder
	line, column int // Of the end of out.
}

func (l *layout) keep(rng hcl.Range) { l.put(rng, string(rng.SliceBytes(l.src))) }

// put writes text where rng begins; text must end where rng does.
func (l *layout) put(rng hcl.Range, text string) {
	for ; l.line < rng.Start.Line; l.line++ {
		l.out.WriteByte('\n')
		l.column = 1
	}
	for ; l.column < rng.Start.Column; l.column++ {
		l.out.WriteByte(' ')
	}
	l.out.WriteString(text)
	l.line, l.column = rng.End.Line, rng.End.Column
}

var nomadPlace = regexp.MustCompile(`(?m)(^|^[^\n]*?[ *])input\.hcl:(\d+),(\d+)-(?:\d+,)?\d+: `)

var moreProblems = regexp.MustCompile(`, and (\d+) other diagnostic\(s\)$`)

// unsetVariable matches a line about a variable without a value; Nomad names no place.
var unsetVariable = regexp.MustCompile(`(?m)^(?:Failed to parse job: )?<nil>: Unset variable "([^"]*)";.*(?:\n|$)`)

// withoutUnset removes lines about variables whose values Parse has refused.
func (d *Draft) withoutUnset(text string) string {
	return strings.TrimSpace(unsetVariable.ReplaceAllStringFunc(text, func(line string) string {
		if d.valueless[unsetVariable.FindStringSubmatch(line)[1]] {
			return ""
		}
		return line
	}))
}

// ParseErrors reads the errors of Nomad's parser about NomadSource. Text without a place
// in the user's file is returned whole, at the instance block. Problems that Parse has
// reported in better words are left out.
func (d *Draft) ParseErrors(text string) []wadi.Problem {
	if text = strings.TrimSpace(text); text == "" {
		text = "refused without a reason"
	}
	if text = d.withoutUnset(text); text == "" {
		return nil
	}
	places := nomadPlace.FindAllStringSubmatchIndex(text, -1)
	if len(places) == 0 {
		return []wadi.Problem{d.nomadProblem(d.instance.DefRange(), text)}
	}
	var problems []wadi.Problem
	for i, at := range places {
		end := len(text)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		line, err1 := strconv.Atoi(text[at[4]:at[5]])
		column, err2 := strconv.Atoi(text[at[6]:at[7]])
		if err1 != nil || err2 != nil || line < 1 || line > d.root.EndRange.End.Line {
			return []wadi.Problem{d.nomadProblem(d.instance.DefRange(), text)}
		}
		if d.places[[2]int{line, column}] && !moreProblems.MatchString(text[at[1]:end]) {
			continue // Parse has reported it.
		}
		rng := hcl.Range{Filename: d.file.Name, Start: hcl.Pos{Line: line, Column: column}}
		problems = append(problems, d.nomadProblem(rng, text[at[1]:end]))
	}
	sortProblems(problems)
	return problems
}

func (d *Draft) nomadProblem(rng hcl.Range, text string) wadi.Problem {
	text = strings.TrimRight(strings.TrimSpace(text), "\n* ")
	text = strings.ReplaceAll(text, "input.hcl", d.file.Name)
	text = moreProblems.ReplaceAllString(text, " (and $1 more)")
	if summary, detail, ok := strings.Cut(text, "; "); ok {
		text = summary + ": " + detail
	}
	path := ""
	if i := d.instance.Range(); rng.Start.Line >= i.Start.Line && rng.Start.Line <= i.End.Line {
		path = "instance"
	}
	return problemAt(rng, path, "Nomad: %s", text)
}
