package wadi_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The table of packages in docs/architecture.md names every package in arrows, each
// once, and no other.
func TestDocs_NameEveryPackage(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Folders and arrows\n")
	section, _, _ = strings.Cut(section, "\n## ")
	named := map[string]int{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			pkg := m[1]
			if pkg == "wadi" {
				pkg = "" // The root.
			}
			named[pkg]++
			if _, known := arrows[pkg]; !known {
				t.Errorf("the table names %q, which has no line in arrows", pkg)
			}
		}
	}
	for pkg := range arrows {
		if named[pkg] != 1 {
			t.Errorf("the table names %q %d times, want once", pkg, named[pkg])
		}
	}
}
