//go:build e2e

package matrix

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

var (
	bin   = flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")
	whole = flag.Bool("whole", false, "run all faults, not only those of the short form")
	write = flag.Bool("write", false, "write what the faults did into docs/faults.md; without -fault, of all faults")
	only  = flag.String("fault", "", "run only the faults whose names match this regular expression")
)

// Each fault does what was promised. The short form has the essential ones.
func TestMatrix(t *testing.T) {
	w, err := Start(t.Context(), Options{Bin: *bin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("the end: %v", err)
		}
	})
	var rows []Row
	unsettled := false
	for _, f := range Faults() {
		if !chosen(f) || f.Mesh && !w.Mesh || unsettled {
			continue
		}
		t.Run(strings.ReplaceAll(f.Name, " ", "-"), func(t *testing.T) {
			began := time.Now()
			row, err := w.Run(t.Context(), f)
			unsettled = errors.Is(err, ErrUnsettled)
			if err != nil {
				t.Errorf("%v\n%s", err, w.logs())
			} else {
				rows = append(rows, row)
			}
			t.Logf("%s in all: %v", since(began), row)
		})
	}
	if *write { // What failed keeps its row.
		if err := writePage(rows); err != nil {
			t.Error(err)
		}
	}
}

func chosen(f Fault) bool {
	if *only != "" {
		return regexp.MustCompile(*only).MatchString(f.Name)
	}
	return f.Short || *whole || *write
}

// logs are the ends of the agents' logs, without reads.
func (w *World) logs() string {
	var b strings.Builder
	for _, a := range w.Agents {
		lines := slices.DeleteFunc(strings.Split(a.Tail(2000), "\n"), func(line string) bool {
			return strings.Contains(line, "wadi.api: request: method=GET")
		})
		fmt.Fprintf(&b, "== %s\n%s\n", a.Name, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	return b.String()
}

func writePage(rows []Row) error {
	root, err := harness.Root()
	if err != nil {
		return err
	}
	promises, page := pages(root)
	text, err := Write(page, Faults(), rows, Promises(promises))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "docs/faults.md"), []byte(text), 0o644)
}

// pages are docs/architecture.md and docs/faults.md.
func pages(root string) (architecture, faults string) {
	a, _ := os.ReadFile(filepath.Join(root, "docs/architecture.md")) // An empty page fails the tests.
	f, _ := os.ReadFile(filepath.Join(root, "docs/faults.md"))
	return string(a), string(f)
}

// Each promise of docs/architecture.md has a fault or an existing test, and each fault
// proves one of them.
func TestPromises_AreProved(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	architecture, _ := pages(root)
	promises := Promises(architecture)
	if len(promises) < 15 {
		t.Fatalf("docs/architecture.md has only %d promises: %q", len(promises), promises)
	}
	for _, p := range promises {
		if len(Elsewhere()[p]) == 0 && !slices.ContainsFunc(Faults(), func(f Fault) bool { return f.Promise == p }) {
			t.Errorf("nothing proves the promise about %q", p)
		}
	}
	for _, f := range Faults() {
		if !slices.Contains(promises, f.Promise) || !slices.Contains(Groups(), f.Group) {
			t.Errorf("%q proves %q in %q, which docs/architecture.md or Groups does not have", f.Name, f.Promise, f.Group)
		}
	}
	for p, proofs := range Elsewhere() {
		if !slices.Contains(promises, p) {
			t.Errorf("tests prove %q, which docs/architecture.md does not promise", p)
		}
		for _, proof := range proofs {
			text, err := os.ReadFile(filepath.Join(root, proof.File))
			if err != nil || !strings.Contains(string(text), "\nfunc "+proof.Test+"(") {
				t.Errorf("%s has no %s (%v)", proof.File, proof.Test, err)
			}
		}
	}
}
