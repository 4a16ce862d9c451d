package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/data-plane.md names every existing metric, refusal and admin path, and
// no others.
func TestDocs_DataPlane(t *testing.T) {
	doc, err := os.ReadFile("../../docs/data-plane.md")
	if err != nil {
		t.Fatal(err)
	}
	source := map[string]bool{}
	var all strings.Builder
	for _, dir := range []string{"proxy", "agent", "cmd/wadi"} {
		err := filepath.WalkDir("../../"+dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			all.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text := all.String()
	for _, pattern := range []string{`"(wadi_(?:activator|gateway|queue|access)_[a-z_]+)"`, `Code[A-Z]\w+ += "([a-z_]+)"`, `\bcode[A-Z]\w+ += "([a-z_]+)"`, `(/v1/admin/[a-z-]+)`} {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			source[m[1]] = true
			if !strings.Contains(string(doc), m[1]) {
				t.Errorf("the page does not say %s", m[1])
			}
		}
	}
	if len(source) < 40 {
		t.Errorf("only %d names found in the source: does the test look at the right place?", len(source))
	}
	for _, m := range regexp.MustCompile("wadi_(?:activator|gateway|queue|access)_[a-z_]+|/v1/admin/[a-z-]+").FindAllString(string(doc), -1) {
		if !source[m] {
			t.Errorf("the page says %s, which there is not", m)
		}
	}
	refusals := string(doc)[strings.Index(string(doc), "## Refusals"):strings.Index(string(doc), "## Drain")]
	for _, m := range regexp.MustCompile("(?m)^\\| \\d+ \\| (`.*`) \\|").FindAllStringSubmatch(refusals, -1) {
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[1], -1) {
			inWords := strings.ReplaceAll(code[1], "_", " ") // Of an error that the code is made of.
			if !source[code[1]] && !strings.Contains(text, `"`+code[1]+`"`) && !strings.Contains(text, `"`+inWords+`"`) {
				t.Errorf("the page says %s, which there is not", code[1])
			}
		}
	}
}

// docs/reliability.md, and the threats of docs/security.md, name at the end of each row
// existing tests and the files that contain them.
func TestDocs_Reliability(t *testing.T) {
	doc, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	namesTests(t, string(doc), 40)
	if doc, err = os.ReadFile("../../docs/security.md"); err != nil {
		t.Fatal(err)
	}
	_, threats, _ := strings.Cut(string(doc), "\n## Threats\n")
	namesTests(t, threats, 12)
}

// namesTests fails the test unless the rows of a table, of which there are at least so many,
// name existing tests.
func namesTests(t *testing.T, doc string, atLeast int) {
	t.Helper()
	name := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`|([\\w/-]+_test\\.go)")
	rows := 0
	for line := range strings.Lines(doc) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 3 || strings.HasPrefix(cells[2], "test |") {
			continue
		}
		rows++
		var tests []string // Named, and their file is still to come.
		for _, m := range name.FindAllStringSubmatch(cells[2], -1) {
			if m[1] != "" {
				tests = append(tests, m[1])
				continue
			}
			file, err := os.ReadFile("../../" + m[2])
			if err != nil || len(tests) == 0 {
				t.Errorf("%q: %v, tests %v", line, err, tests)
			}
			for _, test := range tests {
				if !strings.Contains(string(file), "\nfunc "+test+"(") {
					t.Errorf("%s has no %s", m[2], test)
				}
			}
			tests = nil
		}
		if len(tests) > 0 {
			t.Errorf("%q names no file of %v", line, tests)
		}
	}
	if rows < atLeast {
		t.Errorf("only %d rows found", rows)
	}
}
