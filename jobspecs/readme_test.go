package jobspecs_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/wadi-run/wadi/jobspecs"
)

// What the README shows as a service can be submitted as it stands.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) == 0 {
		t.Fatal("no HCL in the README")
	}
	for _, b := range blocks {
		drafts, problems := jobspecs.Parse(jobspecs.File{Name: "README.md", Source: b[1]}, jobspecs.Options{})
		if len(problems) > 0 || len(drafts) != 1 {
			t.Errorf("%d services, problems %v in:\n%s", len(drafts), problems, b[1])
		}
	}
}
