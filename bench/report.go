package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// section is the table of one benchmark.
type section struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Columns  []string  `json:"columns"` // Names of the rows' values, with units.
	Rows     []row     `json:"rows"`
	Verdicts []verdict `json:"verdicts,omitempty"`
	Notes    []string  `json:"notes,omitempty"`
	Seconds  float64   `json:"seconds"` // How long it took.
}

type row struct {
	Label  string    `json:"label"`
	Values []float64 `json:"values"`
}

// verdict compares a figure with its target. It never fails a run.
type verdict struct {
	What   string  `json:"what"`
	Got    float64 `json:"got"`
	Target float64 `json:"target"`          // At most.
	Least  bool    `json:"least,omitempty"` // The target is a lower bound.
	Met    bool    `json:"met"`
}

func (s *section) add(label string, values ...float64) {
	s.Rows = append(s.Rows, row{label, values})
}

func (s *section) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

func (s *section) judge(what string, got, target float64) {
	s.Verdicts = append(s.Verdicts, verdict{What: what, Got: got, Target: target, Met: got <= target})
}

// atLeast judges a figure with a lower bound.
func (s *section) atLeast(what string, got, target float64) {
	s.Verdicts = append(s.Verdicts, verdict{What: what, Got: got, Target: target, Least: true, Met: got >= target})
}

// report is the result of one run.
type report struct {
	Command  string    `json:"command"`
	Machine  string    `json:"machine"`
	Began    time.Time `json:"began"`
	Sections []section `json:"sections"`
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (s section) write(out io.Writer) {
	fmt.Fprintf(out, "\n%s: %s (%.0f s)\n", s.Name, s.Title, s.Seconds)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "  %s\t%s\t\n", "", strings.Join(s.Columns, "\t"))
	for _, r := range s.Rows {
		fmt.Fprintf(w, "  %-46s", r.Label)
		for _, v := range r.Values {
			fmt.Fprintf(w, "\t%s", digits(v))
		}
		fmt.Fprint(w, "\t\n")
	}
	_ = w.Flush() // If the terminal fails, there is no way to report it.
	for _, v := range s.Verdicts {
		word, bound := "met", "at most"
		if v.Least {
			bound = "at least"
		}
		if !v.Met {
			word = "MISSED"
		}
		fmt.Fprintf(out, "  %s: %s, target %s %s: %s\n", v.What, digits(v.Got), bound, digits(v.Target), word)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(out, "  note: %s\n", n)
	}
}

// digits writes a figure with three significant digits or so.
func digits(v float64) string {
	switch {
	case v == float64(int64(v)) || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// samples are measurements of one quantity.
type samples []time.Duration

// at is the q-quantile in milliseconds, by nearest rank.
func (s samples) at(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(q*float64(len(sorted)-1) + 0.5)
	return ms(sorted[rank])
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
