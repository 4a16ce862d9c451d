package main

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/jobspecs"
)

// The examples of docs/images.md are services, settings of an agent, or Nomad's.
func TestDocs_Images(t *testing.T) {
	page, err := os.ReadFile("../../docs/images.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(page), "```hcl\n")[1:]
	if len(examples) < 4 {
		t.Fatalf("only %d examples", len(examples))
	}
	for _, example := range examples {
		src, _, _ := strings.Cut(example, "```")
		switch word, _, _ := strings.Cut(src, " "); word {
		case "service":
			if _, problems := jobspecs.Parse(jobspecs.File{Name: "images.md", Source: []byte(src)}, jobspecs.Options{}); len(problems) > 0 {
				t.Errorf("%v\n%s", problems, src)
			}
		case "plugin", "client": // Of Nomad's configuration.
			if _, diags := hclparse.NewParser().ParseHCL([]byte(src), "images.md"); diags.HasErrors() {
				t.Errorf("%v\n%s", diags, src)
			}
		default:
			path := written(t, "agent.hcl", src)
			_, problems := config.Load([]string{path}, func(string) string { return "" }, config.Flags{})
			for _, p := range problems {
				if p.Path != "queue_proxy" && !strings.Contains(p.Message, "there is no file") { // Both are the reader's.
					t.Errorf("%v\n%s", p, src)
				}
			}
		}
	}
}
