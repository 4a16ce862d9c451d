package convert_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/jobspecs/convert"
)

// The tables of settings in the documents are those of the code.
func TestDocs_Settings(t *testing.T) {
	for page, settings := range map[string][]convert.Setting{
		"../../docs/from-nomad.md":   convert.NomadSettings(),
		"../../docs/from-knative.md": convert.KnativeSettings(),
	} {
		doc, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		const begin, end = "<!-- settings -->\n", "<!-- end of settings -->\n"
		head, rest, ok1 := strings.Cut(string(doc), begin)
		got, tail, ok2 := strings.Cut(rest, end)
		if !ok1 || !ok2 {
			t.Fatalf("%s has no table of settings", page)
		}
		want := table(settings)
		if *update {
			if err := os.WriteFile(page, []byte(head+begin+want+end+tail), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-code +page):\n%s", page, diff)
		}
	}
}

func table(settings []convert.Setting) string {
	code := func(names string) string {
		if names == "" {
			return "–"
		}
		return "`" + strings.ReplaceAll(names, ", ", "`, `") + "`"
	}
	out := "| there | here | |\n|---|---|---|\n"
	for _, s := range settings {
		out += fmt.Sprintf("| %s | %s | %s |\n", code(s.Name), code(s.Here), strings.ReplaceAll(s.Why, "|", `\|`))
	}
	return out
}

// No setting has two rows, and each row says something.
func TestSettings(t *testing.T) {
	for _, settings := range [][]convert.Setting{convert.NomadSettings(), convert.KnativeSettings()} {
		seen := map[string]bool{}
		for _, s := range settings {
			for name := range strings.SplitSeq(s.Name, ", ") {
				if seen[name] {
					t.Errorf("%s has two rows", name)
				}
				seen[name] = true
			}
			if s.Why == "" {
				t.Errorf("%s has no reason", s.Name)
			}
		}
	}
}
