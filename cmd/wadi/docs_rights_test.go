package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/api"
)

// docs/security.md says of each operation of the API who may call it. TestCallers_EachByEach
// in test/rights tries each.
func TestDocs_WhoMayCall(t *testing.T) {
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	want := []string{"GET /v1/admin/dump"} // Of the admin plane, which the description leaves out.
	for path, methods := range doc.Paths {
		for method := range methods {
			want = append(want, strings.ToUpper(method)+" "+path)
		}
	}
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| call, token |")
	table, _, _ = strings.Cut(table, "\n\n")
	var got []string
	for line := range strings.Lines(table) {
		if row, is := strings.CutPrefix(line, "| `"); is {
			operation, _, _ := strings.Cut(row, "`")
			got = append(got, operation)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-API +docs/security.md):\n%s", diff)
	}
}
