//go:build e2e

package matrix

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var (
	bin   = flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")
	write = flag.Bool("write", false, "run all faults, and write what they did into docs/faults.md")
	whole = flag.Bool("whole", false, "run all faults, not only those of the short form")
)

// Each fault does what was promised. The short form has the essential ones.
func TestMatrix(t *testing.T) {
	w, err := Start(t.Context(), Options{Bin: *bin})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if w != nil {
			if err := w.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Errorf("the end: %v", err)
			}
		}
		w = nil
	}
	t.Cleanup(stop)
	var rows []Row
	for _, f := range Faults() {
		if !f.Short && !*whole && !*write || f.Mesh && !w.Mesh {
			continue
		}
		t.Run(strings.ReplaceAll(f.Name, " ", "-"), func(t *testing.T) {
			began := time.Now()
			row, err := w.Run(t.Context(), f)
			if err != nil {
				t.Errorf("%v\n%s", err, w.logs())
			}
			rows = append(rows, row)
			t.Logf("%.1fs: %d sent, %d answered, %d failed, slowest %v; instances %d, %d, %d; recovered after %v; %s\nstatus: %s\ndoctor: %s\nanswers: %s",
				time.Since(began).Seconds(), row.Sent, row.Answered, row.Failed, row.Slowest, row.InstancesBefore, row.InstancesDuring, row.InstancesAfter, row.Recovery,
				strings.Join(row.Notes, "; "), strings.Join(row.Saw.Status, "\n  "), strings.Join(row.Saw.Doctor, "\n  "), strings.Join(row.Saw.Answers, "\n  "))
		})
	}
	stop()
	_ = os.Stderr
	_ = fmt.Sprint
}

// logs are the ends of the agents' logs.
func (w *World) logs() string {
	var b strings.Builder
	for _, a := range w.Agents {
		fmt.Fprintf(&b, "== %s\n%s\n", a.Name, a.Tail(40))
	}
	return b.String()
}
