package admission_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/agent/admission/rules"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/apitls/certtest"
)

// page is docs/admission.md.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/admission.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are the examples of one language.
func blocks(page, language string) (out []string) {
	for _, part := range strings.Split(page, "\n```"+language+"\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		out = append(out, text)
	}
	return out
}

// The page's examples of JSON are as the schemas say, and its configuration is one.
func TestDocs_Examples(t *testing.T) {
	p := page(t)
	json := blocks(p, "json")
	if len(json) != 2 {
		t.Fatalf("%d examples of JSON, want a question and an answer", len(json))
	}
	if err := valid(t, schema(t, "admission-answer.json"), json[1]); err != nil {
		t.Errorf("the answer: %v", err)
	}
	// The question is shortened; what is there is right.
	for line := range strings.Lines(valid(t, schema(t, "admission-request.json"), json[0]).Error()) {
		if strings.HasPrefix(line, "- ") && !strings.Contains(line, "missing propert") {
			t.Errorf("the question: %s", line)
		}
	}

	dir := t.TempDir()
	f := certtest.NewAuthority(t).Files(t, dir, 1, "wadi")
	text := "queue_proxy {\n  driver = \"docker\"\n}\n" + strings.Join(blocks(p, "hcl"), "")
	for name, file := range map[string]string{"/etc/wadi/policy-ca.pem": f.CA, "/etc/wadi/client.pem": f.Cert, "/etc/wadi/client.key": f.Key} {
		text = strings.ReplaceAll(text, name, file)
	}
	file := filepath.Join(dir, "wadi.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
	if len(problems) > 0 || len(c.Webhooks) != 1 || len(c.AdmissionRules.Meta) != 2 || len(c.AdmissionRules.Images) != 3 {
		t.Errorf("%+v, %v", c, problems)
	}
}

// The table of settings has those of the example, which has all.
func TestDocs_Settings(t *testing.T) {
	p := page(t)
	var rows, example []string
	for _, m := range regexp.MustCompile("(?m)^\\| (`[a-z_]+`(?:, `[a-z_]+`)*) \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(p, -1) {
		rows = append(rows, strings.Split(strings.ReplaceAll(m[1], "`", ""), ", ")...)
	}
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z_]+) +=`).FindAllStringSubmatch(blocks(p, "hcl")[1], -1) {
		example = append(example, m[1])
	}
	if diff := cmp.Diff(example, rows); diff != "" {
		t.Errorf("settings of the example and of the table (-example +table):\n%s", diff)
	}
}

// The patterns that the page explains are patterns.
func TestDocs_Patterns(t *testing.T) {
	_, table, _ := strings.Cut(page(t), "| pattern | allows |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1)
	if len(rows) < 5 {
		t.Fatalf("%d patterns", len(rows))
	}
	for _, m := range rows {
		if _, err := rules.ParseImage(m[1]); err != nil {
			t.Error(err)
		}
	}
}
