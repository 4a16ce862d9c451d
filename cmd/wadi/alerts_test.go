package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alerts is a file of Prometheus' rules.
type alerts struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

// The alerts ask for metrics that agents have, with their labels, and docs/operations.md
// says of each what to do.
func TestAlerts(t *testing.T) {
	b, err := os.ReadFile("../../packaging/prometheus/wadi.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var rules alerts
	if err := yaml.Unmarshal(b, &rules); err != nil || len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 8 {
		t.Fatalf("%v: %+v", err, rules)
	}
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	source := agentSource(t)
	for _, r := range rules.Groups[0].Rules {
		if r.For == "" || r.Labels["severity"] == "" || !strings.HasSuffix(r.Annotations["summary"], ".") {
			t.Errorf("%s: %+v", r.Alert, r)
		}
		if !strings.Contains(string(doc), "\n| `"+r.Alert+"` |") {
			t.Errorf("docs/operations.md does not say what to do about %s", r.Alert)
		}
		if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") || strings.Count(r.Expr, "{") != strings.Count(r.Expr, "}") {
			t.Errorf("%s: brackets: %s", r.Alert, r.Expr)
		}
		for _, name := range regexp.MustCompile(`wadi_[a-z_]+`).FindAllString(r.Expr, -1) {
			if !strings.Contains(source, `"`+strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")+`"`) { // Of histograms.
				t.Errorf("%s: there is no metric %s", r.Alert, name)
			}
		}
		for _, m := range regexp.MustCompile(`(\w+)=~?"([\w|]+)"`).FindAllStringSubmatch(r.Expr, -1) {
			if m[1] == "job" {
				continue
			}
			for value := range strings.SplitSeq(m[2], "|") {
				if !strings.Contains(source, `"`+m[1]+`"`) || !strings.Contains(source, `"`+value+`"`) {
					t.Errorf("%s: no metric has %s", r.Alert, m[0])
				}
			}
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(Wadi\\w+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		if !strings.Contains(string(b), "alert: "+m[1]+"\n") {
			t.Errorf("docs/operations.md has %s, which there is not", m[1])
		}
	}
}

// agentSource is the source of all that agents are made of.
func agentSource(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	words, err := filepath.Glob("../../*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range words { // States that are labels are in the root package.
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	for _, dir := range []string{"proxy", "agent", "internal"} {
		err := filepath.WalkDir("../../"+dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			out.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}
