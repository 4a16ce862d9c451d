package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// progress shows how far services are: on a terminal as one line that changes, elsewhere
// as a line for each new fact. A repeated fact is counted, even if its port number
// differs.
type progress struct {
	c     *call
	out   io.Writer
	width int // 0: no terminal.
	facts map[string]*serviceFacts
	drawn bool
}

// maxFacts bounds how many facts of one service are remembered.
const maxFacts = 100

// serviceFacts are the facts shown of one service.
type serviceFacts struct {
	seen     map[string]int // How often each fact came up.
	last     string         // The last one.
	repeated int            // How many came that had their line already.
}

func newProgress(c *call) *progress {
	p := &progress{c: c, out: c.stdout}
	if c.json {
		p.out = io.Discard
	} else if width, ok := terminal(c.stdout); ok && c.env["TERM"] != "dumb" {
		p.width = width
	}
	return p
}

// note records the state of a service. It returns how often this fact has come up, or 0 if
// it has not changed.
func (p *progress) note(f *awaited) (times int) {
	of := p.facts[f.Name]
	if of == nil {
		if p.facts == nil {
			p.facts = map[string]*serviceFacts{}
		}
		of = &serviceFacts{seen: map[string]int{}}
		p.facts[f.Name] = of
	}
	key := f.phase + " " + f.text
	if of.last == key {
		return 0
	}
	of.last = key
	if f.done {
		return 1
	}
	fact := scheduler.WithoutNumbers(key)
	if len(of.seen) >= maxFacts {
		clear(of.seen)
	}
	of.seen[fact]++
	if of.seen[fact] > 1 {
		of.repeated++
	}
	return of.seen[fact]
}

// update records the state of one service, and prints a line for a new fact or the result.
func (p *progress) update(f *awaited, now time.Time, took time.Duration) {
	times := p.note(f)
	if times != 1 || (p.width > 0 && !f.done) {
		return
	}
	text := clean(f.text)
	p.erase()
	if f.done && p.width == 0 && p.facts[f.Name].repeated > 0 {
		writef(p.out, "%s: %s, and %s more what was said before\n", f.Name, p.c.paint(p.out, "pending"), wadi.Quantity(p.facts[f.Name].repeated, "time"))
	}
	switch {
	case f.done && !f.failed:
		text = strings.Trim(f.Revision+", "+text, ", ") + fmt.Sprintf(" (%.1fs)", took.Seconds())
	case !f.done && !f.until.IsZero():
		text += fmt.Sprintf(" (fails in %s unless it is ready)", remaining(f.until, now))
	}
	out := p.out
	if f.failed && !p.c.json {
		out = p.c.stderr
	}
	writef(out, "%s: %s, %s\n", f.Name, p.c.paint(out, f.phase), text)
}

// line redraws the line of a terminal with the services that are not done.
func (p *progress) line(all []*awaited, now time.Time, took time.Duration) {
	if p.width == 0 {
		return
	}
	var open []string
	for _, f := range all {
		if !f.done {
			open = append(open, f.Name+": "+p.counted(f, now)+clean(f.text))
		}
	}
	p.erase()
	if len(open) == 0 {
		return
	}
	text := []rune(fmt.Sprintf("%4.1fs  %s", took.Seconds(), strings.Join(open, "   ")))
	writef(p.out, "%s", string(text[:min(len(text), p.width-1)]))
	p.drawn = true
}

// counted is how often a fact has come up and how much time is left. It is written before
// the fact, which may not fit on the line.
func (p *progress) counted(f *awaited, now time.Time) string {
	var parts []string
	if of := p.facts[f.Name]; of != nil {
		if n := of.seen[scheduler.WithoutNumbers(f.phase+" "+f.text)]; n > 1 {
			parts = append(parts, wadi.Quantity(n, "time"))
		}
	}
	if !f.until.IsZero() {
		parts = append(parts, remaining(f.until, now)+" left")
	}
	if len(parts) == 0 {
		return ""
	}
	return "(" + strings.Join(parts, ", ") + ") "
}

func (p *progress) erase() {
	if p.drawn {
		writef(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

// end leaves the terminal ready for the next output. It may be called twice.
func (p *progress) end() { p.erase() }
