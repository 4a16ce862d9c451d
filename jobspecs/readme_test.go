package jobspecs_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/wadi-run/wadi/jobspecs"
)

// The services in the documents can be submitted as they are.
func TestReadme(t *testing.T) {
	for _, file := range []string{"../README.md", "../docs/secrets.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllSubmatch(text, -1)
		if len(blocks) == 0 {
			t.Fatalf("no HCL in %s", file)
		}
		for _, b := range blocks {
			drafts, problems := jobspecs.Parse(jobspecs.File{Name: file, Source: b[1]}, jobspecs.Options{})
			if len(problems) > 0 || len(drafts) != 1 {
				t.Errorf("%d services, problems %v in:\n%s", len(drafts), problems, b[1])
			}
		}
	}
}
