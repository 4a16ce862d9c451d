package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// timeline prints what happened, when, and the proof.
type timeline struct {
	out   io.Writer
	began time.Time
	step  string // The last step printed: its name is only on its first line.
}

// print prints one line.
func (t *timeline) print(step, what, proof string, args ...any) {
	name := step
	if step == t.step {
		name = ""
	}
	t.step = step
	line := fmt.Sprintf("%7d ms  %-10s  %-50s  %s", time.Since(t.began).Milliseconds(), name, what, fmt.Sprintf(proof, args...))
	fmt.Fprintln(t.out, strings.TrimRight(line, " "))
}

func (t *timeline) done() {
	fmt.Fprintf(t.out, "%7d ms  every step held\n", time.Since(t.began).Milliseconds())
}

func round(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// quantile is by nearest rank; 0 if there are no values.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
