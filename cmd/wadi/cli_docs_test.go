package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	cliDocs      = "../../docs/cli.md"
	cliGenerated = "<!-- From here on: go test ./cmd/wadi -run TestDocs_CLI -update -->\n"
)

// docs/cli.md has every command with the help that it prints, and every variable of the
// environment that commands read.
func TestDocs_CLI(t *testing.T) {
	b, err := os.ReadFile(cliDocs)
	if err != nil {
		t.Fatal(err)
	}
	intro, got, ok := strings.Cut(string(b), cliGenerated)
	if !ok {
		t.Fatalf("%s has no line %q", cliDocs, cliGenerated)
	}
	want := cliReference()
	if *update {
		if err := os.WriteFile(cliDocs, []byte(intro+cliGenerated+want), 0o644); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if got != want {
		t.Errorf("%s is not what the commands say now: go test ./cmd/wadi -run TestDocs_CLI -update", cliDocs)
	}
	for _, name := range cliEnvironment(t) {
		if !strings.Contains(intro, "`"+name+"`") {
			t.Errorf("%s does not say what %s is", cliDocs, name)
		}
	}
}

// cliReference is the generated part of the page.
func cliReference() string {
	var b strings.Builder
	b.WriteString("\n## Commands\n\n| command | does |\n|---|---|\n")
	all := commands()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "| [`wadi %s`](#wadi-%s) | %s |\n", name, strings.ReplaceAll(name, " ", "-"), all[name].synopsis)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "\n## wadi %s\n\n```text\n%s\n```\n", name, strings.TrimRight(all[name].helpText(), "\n"))
	}
	return b.String()
}

// cliEnvironment lists the variables that commands read.
func cliEnvironment(t *testing.T) []string {
	t.Helper()
	names := map[string]bool{}
	for _, dir := range []string{".", "../../agent/config"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			src, err := os.ReadFile(dir + "/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`"((?:WADI|NOMAD|CONSUL)_[A-Z_]*[A-Z])"`).FindAllStringSubmatch(string(src), -1) {
				names[m[1]] = true
			}
		}
	}
	if len(names) < 10 {
		t.Fatalf("only %v: does the test look at the right place?", names)
	}
	return slices.Sorted(maps.Keys(names))
}

// Every command says how it is used, in lines that fit a terminal.
func TestHelp(t *testing.T) {
	for name, c := range commands() {
		text := c.helpText()
		if !strings.HasPrefix(c.usage, "wadi "+name) || c.synopsis == "" || strings.HasSuffix(c.synopsis, ".") {
			t.Errorf("%s: usage %q, synopsis %q", name, c.usage, c.synopsis)
		}
		for line := range strings.Lines(c.help) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 {
				t.Errorf("%s: a line of %d characters: %s", name, n, line)
			}
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "\t") && !strings.HasPrefix(line, "    \t") && !strings.HasPrefix(line, "  -") {
				t.Errorf("%s: a tab: %q", name, line)
			}
		}
	}
}
