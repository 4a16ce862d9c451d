package main

import (
	"os"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/jobspecs"
)

// The examples of docs/traffic.md are services, or blocks of one. test/e2e plays the page.
func TestDocs_TrafficExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/traffic.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(page), "```hcl\n")[1:]
	if len(examples) < 5 {
		t.Fatalf("only %d examples", len(examples))
	}
	for _, example := range examples {
		src, _, _ := strings.Cut(example, "```")
		if !strings.Contains(src, "service \"store\" {") {
			src = "service \"store\" {\n  instance {\n    task \"web\" {}\n  }\n" + src + "}\n"
		}
		if _, problems := jobspecs.Parse(jobspecs.File{Name: "traffic.md", Source: []byte(src)}, jobspecs.Options{}); len(problems) > 0 {
			t.Errorf("%v\n%s", problems, src)
		}
	}
}
