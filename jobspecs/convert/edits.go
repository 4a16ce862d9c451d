package convert

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// edits are changes of a source. Those inside of another one are void.
type edits struct {
	src     []byte
	changes []edit
}

type edit struct {
	from, to int
	text     string
	lines    bool // The text consists of whole lines.
}

func (e *edits) replace(from, to int, text string) {
	e.changes = append(e.changes, edit{from: from, to: to, text: text})
}

// lines replaces rng by whole lines.
func (e *edits) lines(rng hcl.Range, text string) {
	to := rng.End.Byte
	if to > rng.Start.Byte && e.src[to-1] == '\n' {
		to-- // The range of a heredoc has the end of its last line.
	}
	e.changes = append(e.changes, edit{from: rng.Start.Byte, to: to, text: text, lines: true})
}

// text is the source from a byte to another one with the edits in between.
func (e *edits) text(from, to int) string {
	slices.SortStableFunc(e.changes, func(a, b edit) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	var out strings.Builder
	at := from
	for _, x := range e.changes {
		if x.from < at || x.to > to {
			continue
		}
		out.Write(e.src[at:x.from])
		text := x.text
		if x.lines {
			if !blankBefore(e.src[from:x.from]) {
				text = "\n" + text
			}
			if blankAfter(e.src[x.to:to]) {
				text = strings.TrimSuffix(text, "\n")
			}
		}
		out.WriteString(text)
		at = x.to
		if x.lines && text == "" && blankBefore(e.src[from:x.from]) {
			at += emptyLine(e.src[x.to:to])
		}
	}
	out.Write(e.src[at:to])
	return out.String()
}

// blankBefore reports whether the last line of b is blank. The beginning of a body is not,
// as its brace stands there.
func blankBefore(b []byte) bool {
	i := bytes.LastIndexByte(b, '\n')
	return i >= 0 && len(bytes.TrimSpace(b[i:])) == 0
}

// blankAfter reports whether the rest of the line is blank, or a comment to its end.
func blankAfter(b []byte) bool {
	line, _, ended := bytes.Cut(b, []byte{'\n'})
	line = bytes.TrimSpace(line)
	return ended && (len(line) == 0 || line[0] == '#' || bytes.HasPrefix(line, []byte("//")))
}

// emptyLine is the length of the rest of the line with its newline, if it is blank.
func emptyLine(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 && len(bytes.TrimSpace(b[:i])) == 0 {
		return i + 1
	}
	return 0
}
