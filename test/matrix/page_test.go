//go:build e2e

package matrix

import (
	"slices"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
)

// docs/faults.md has a row for each fault, and for no other.
func TestPage_HasEachFault(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	_, page := pages(root)
	rows := pageRows(page)
	for _, f := range Faults() {
		if rows[f.Name] == "" {
			t.Errorf("docs/faults.md has no row %q: run TestMatrix with -write", f.Name)
		}
	}
	for name := range rows {
		if !slices.ContainsFunc(Faults(), func(f Fault) bool { return f.Name == name }) {
			t.Errorf("docs/faults.md has the row %q, which is no fault any more", name)
		}
	}
}
