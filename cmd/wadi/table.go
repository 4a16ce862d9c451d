package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// The colours of words. All codes have the same length, so that the columns of a
// table stay aligned.
const (
	plain  = "\x1b[39m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

// coloured reports whether colours are welcome on out.
func (w world) coloured(out io.Writer) bool {
	_, ok := terminal(out)
	return ok && w.env["NO_COLOR"] == "" && w.env["TERM"] != "dumb"
}

// paint colours a word after its meaning; unknown words and headers are plain.
func (w world) paint(out io.Writer, word string) string {
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

// table prints rows under a header, aligned. paintColumn is coloured; -1: none.
func (w world) table(paintColumn int, header []string, rows [][]string) {
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
		say(tw, "%s\n", strings.Join(cells, "\t"))
	}
	_ = tw.Flush()
	for line := range strings.Lines(out.String()) {
		w.printf("%s\n", strings.TrimRight(line, " \n"))
	}
}

// clean makes text of others fit for a line of a terminal.
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

// age is how long ago a moment was, in one unit.
func age(since time.Time, now time.Time) string {
	if since.IsZero() || since.Unix() == 0 {
		return "-"
	}
	switch d := max(0, now.Sub(since)); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
