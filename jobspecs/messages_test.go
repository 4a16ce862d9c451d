package jobspecs_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// verbs are the parts of a message that the values fill.
var verbs = regexp.MustCompile(`%[-+#.0-9]*[a-zA-Z%]`)

// Each complaint of this package is in a golden file, where it is read as a user reads it.
func TestMessages_HaveGoldens(t *testing.T) {
	var goldens strings.Builder
	err := filepath.WalkDir("testdata", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".golden") {
			return err
		}
		goldens.Write(read(t, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	said, found := goldens.String(), 0
	for _, file := range files(t, "*.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for message, line := range messages(t, file) {
			found++
			parts := verbs.Split(message, -1)
			longest := slices.MaxFunc(parts, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
			if !strings.Contains(said, longest) && !elsewhere[message] {
				t.Errorf("%s:%d: no golden file has %q", file, line, message)
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d messages found: does the test look at the right calls?", found)
	}
}

// elsewhere are messages that no file of a user can make: about the agent's own tasks,
// answers of Nomad, and what can't be encoded.
var elsewhere = map[string]bool{
	"write the task: %s": true, "write service %s: %w": true, "it can't be read: %s": true, "it has %d groups, not one": true,
	"%.100s is nested more than %d deep": true, "render %s: %w": true, "read instance: %w": true, "read instance: a task is no object": true, "the instance has no task %q to serve": true,
	"the agent has no queue_proxy task": true, "read the agent's queue_proxy task: %w": true, "read the agent's sidecar task: %w": true,
	"read the agent's task %s: %w": true, "read the job of %s: %w": true,
}

// messages are the formats of a file's complaints, and their lines.
func messages(t *testing.T, file string) map[string]int {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name := ""
		switch f := call.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}
		if !slices.Contains([]string{"report", "addf", "Errorf", "New", "mistake", "At", "inInstance", "rangeError", "require", "fixed", "stop"}, name) {
			return true
		}
		for _, arg := range call.Args {
			lit, ok := arg.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			if text, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(text, " ") {
				out[text] = set.Position(lit.Pos()).Line
			}
		}
		return true
	})
	return out
}
