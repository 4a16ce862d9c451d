//go:build e2e

package matrix

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What stands between these lines of docs/faults.md is written by the test.
const (
	pageBegin = "<!-- The following is written by TestMatrix with -write. -->"
	pageEnd   = "<!-- Up to here. -->"
)

// Write replaces what stands between the marks of a page: a table for each group of faults,
// and one that says which faults and tests prove each promise. A fault without a row keeps
// the one that the page has.
func Write(page string, faults []Fault, rows []Row, promises []string) (string, error) {
	before, rest, ok := strings.Cut(page, pageBegin)
	_, after, ok2 := strings.Cut(rest, pageEnd)
	if !ok || !ok2 {
		return "", errors.New("the page does not have the lines between which the tables stand")
	}
	lines := pageRows(page)
	for _, r := range rows {
		lines[r.Fault.Name] = r.line()
	}
	var b strings.Builder
	b.WriteString(before + pageBegin + "\n")
	for _, group := range Groups() {
		table(&b, group, faults, lines)
	}
	b.WriteString("\n## What proves each promise\n\nThe promises are those of [architecture.md](architecture.md#when-things-break).\n\n| promise about | faults of this page | other tests |\n|---|---|---|\n")
	for _, p := range promises {
		var names, tests []string
		for _, f := range faults {
			if f.Promise == p {
				names = append(names, f.Name)
			}
		}
		for _, proof := range Elsewhere()[p] {
			tests = append(tests, fmt.Sprintf("`%s` %s", proof.Test, proof.File))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", p, strings.Join(names, "; "), strings.Join(tests, ", "))
	}
	return b.String() + "\n" + pageEnd + after, nil
}

func table(b *strings.Builder, group string, faults []Fault, lines map[string]string) {
	head := false
	for _, f := range faults {
		line := lines[f.Name]
		if f.Group != group || line == "" {
			continue
		}
		if !head {
			fmt.Fprintf(b, "\n## %s\n\n| fault | sent | failed | which may | slowest | instances | as before after | what was seen |\n|---|---|---|---|---|---|---|---|\n", group)
			head = true
		}
		b.WriteString(line + "\n")
	}
}

// line is the row in the page.
func (r Row) line() string {
	var may []string
	for _, a := range r.Fault.Allowed {
		may = append(may, a.Why)
	}
	if len(may) == 0 {
		may = []string{"none"}
	}
	return fmt.Sprintf("| %s | %d | %d | %s | %s | %d, %d, %d | %s | %s |", r.Fault.Name, r.Sent, r.Failed, strings.Join(may, "; "),
		round(r.Slowest), r.InstancesBefore, r.InstancesDuring, r.InstancesAfter, round(r.Recovery), r.seen())
}

func round(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// shown bounds what a cell shows of each kind.
const shown = 3

// seen is the cell of what was measured and seen.
func (r Row) seen() string {
	parts := slices.Clone(r.Notes)
	for _, kind := range []struct {
		name  string
		lines []string
	}{{"callers", r.Saw.Answers}, {"status", r.Saw.Status}, {"doctor", r.Saw.Doctor}} {
		for i, line := range kind.lines {
			if i == shown {
				parts = append(parts, fmt.Sprintf("%s: %d more", kind.name, len(kind.lines)-shown))
				break
			}
			parts = append(parts, kind.name+": "+plain(line))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "<br>")
}

// plain is a text that can stand in a cell.
func plain(text string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "\n", " ").Replace(text)
}

// pageRows are the rows in the tables of a page, by the name of their fault.
func pageRows(page string) map[string]string {
	_, rest, _ := strings.Cut(page, pageBegin)
	rest, _, _ = strings.Cut(rest, "\n## What proves each promise")
	all := map[string]string{}
	for line := range strings.Lines(rest) {
		cells := strings.Split(line, " | ")
		if name, ok := strings.CutPrefix(cells[0], "| "); ok && len(cells) > 6 && name != "fault" {
			all[name] = strings.TrimSpace(line)
		}
	}
	return all
}
