package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen is a picture on a terminal that is replaced in place. What is written to it shows
// with the next draw.
type screen struct {
	strings.Builder
	out           io.Writer
	width, height int
}

// newScreen returns the screen of a terminal; nil: out is none, or can't replace a picture.
func (c *call) newScreen() *screen {
	f, isFile := c.stdout.(*os.File)
	if _, ok := terminal(c.stdout); !isFile || !ok || c.env["TERM"] == "dumb" {
		return nil
	}
	s := &screen{out: c.stdout}
	s.measure(f)
	return s
}

// measure reads the size of the terminal, which may change.
func (s *screen) measure(f *os.File) {
	s.width, _ = terminal(f)
	s.height = 24
	if _, h, err := term.GetSize(int(f.Fd())); err == nil && h > 2 {
		s.height = h
	}
}

// draw replaces the picture by what was written since the last draw.
func (s *screen) draw() {
	text := fit(s.String(), s.width, s.height-1)
	s.Reset()
	// Lines are cleared one by one: a cleared screen would flicker.
	writef(s.out, "\x1b[H%s\x1b[J", strings.ReplaceAll(text, "\n", "\x1b[K\n"))
}

var colourCode = regexp.MustCompile(`\x1b\[\d+m`)

// fit cuts a text to the rows of a terminal. Long lines take several rows.
func fit(text string, width, height int) string {
	lines := slices.Collect(strings.Lines(text))
	used := make([]int, len(lines)+1) // The rows of the lines before.
	for i, line := range lines {
		n := utf8.RuneCountInString(strings.TrimSuffix(colourCode.ReplaceAllString(line, ""), "\n"))
		used[i+1] = used[i] + max(1, (n+width-1)/width)
	}
	if used[len(lines)] <= height {
		return text
	}
	kept := 0
	for used[kept+1] <= height-1 {
		kept++
	}
	return strings.Join(lines[:kept], "") + fmt.Sprintf("… %d lines more\n", len(lines)-kept)
}
