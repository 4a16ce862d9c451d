package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// Colours of words. All codes have the same length, so that the columns of a table stay
// aligned.
const (
	plain  = "\x1b[39m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

// coloured reports whether out shows colours.
func (w stdio) coloured(out io.Writer) bool {
	_, ok := terminal(out)
	return ok && w.env["NO_COLOR"] == "" && w.env["TERM"] != "dumb"
}

// paint colours a word by its meaning; unknown words and headers stay plain.
func (w stdio) paint(out io.Writer, word string) string {
	if !w.coloured(out) {
		return word
	}
	colour := plain
	switch word {
	case "ready", "yes", "formatted", "unchanged", "OK":
		colour = green
	case "failed", "no", "FAIL":
		colour = red
	case "pending", "deleting", "WARN":
		colour = yellow
	}
	return colour + word + reset
}

// table prints rows under a header, aligned. The column paintColumn is coloured; -1: none.
func (w stdio) table(paintColumn int, header []string, rows [][]string) {
	var out strings.Builder
	tw := tabwriter.NewWriter(&out, 0, 8, 3, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
			if i == paintColumn {
				cells[i] = w.paint(w.stdout, cells[i])
			}
		}
		writef(tw, "%s\n", strings.Join(cells, "\t"))
	}
	_ = tw.Flush()
	for line := range strings.Lines(out.String()) {
		w.printf("%s\n", strings.TrimRight(line, " \n"))
	}
}

// clean removes control characters from foreign text, so that it can't steer the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0):
			return -1
		}
		return r
	}, s)
}

func (w stdio) errorf(format string, args ...any) {
	writef(w.stderr, "Error: "+format+"\n", args...)
}

func (w stdio) printf(format string, args ...any) { writef(w.stdout, format, args...) }

func (w stdio) printJSON(v any) error {
	e := json.NewEncoder(w.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printLine prints one line of JSON.
func (w stdio) printLine(v any) error {
	e := json.NewEncoder(w.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// terminal reports whether out is a terminal, and how wide it is.
func terminal(out io.Writer) (width int, ok bool) {
	if s, isScreen := out.(*screen); isScreen {
		return s.width, true
	}
	f, isFile := out.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	return width, true
}

// writef writes to a user's terminal or pipe; if that fails, there is no way to report it.
func writef(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
