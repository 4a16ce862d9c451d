package doctor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// verb is a place of a text that is filled in.
var verb = regexp.MustCompile(`%[-+#0-9.]*[a-zA-Z]`)

// told returns the longest part without places to fill in of each text that findings are
// made of: the values of What, in the package's files and the command's.
func told(t *testing.T, patterns ...string) (out []string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				kv, is := n.(*ast.KeyValueExpr)
				if !is {
					return true
				}
				if key, named := kv.Key.(*ast.Ident); named && key.Name == "What" {
					if text := longest(t, kv.Value); text != "" {
						out = append(out, text)
					}
				}
				return true
			})
		}
	}
	return out
}

// longest is the longest part without places to fill in of the texts in an expression.
func longest(t *testing.T, e ast.Expr) (best string) {
	t.Helper()
	ast.Inspect(e, func(n ast.Node) bool {
		lit, is := n.(*ast.BasicLit)
		if !is || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range verb.Split(text, -1) {
			if part = strings.Trim(part, " ,:;()"); len(part) > len(best) {
				best = part
			}
		}
		return true
	})
	return best
}

// docs/doctor.md has each finding, in the words of the code.
func TestDocs_Findings(t *testing.T) {
	src, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Join(strings.Fields(string(src)), " ")
	texts := told(t, "*.go", "../../cmd/wadi/doctor*.go")
	if len(texts) < 40 {
		t.Errorf("only %d texts were found", len(texts))
	}
	for _, text := range texts {
		if !strings.Contains(page, strings.Join(strings.Fields(text), " ")) {
			t.Errorf("the page lacks %q", text)
		}
	}
}

// Each finding that is not well says what to do.
func TestFindings_Remedies(t *testing.T) {
	seen := 0
	for _, pattern := range []string{"*.go", "../../cmd/wadi/doctor*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, is := n.(*ast.CompositeLit)
				if !is {
					return true
				}
				set := map[string]string{}
				for _, e := range lit.Elts {
					if kv, is := e.(*ast.KeyValueExpr); is {
						key, _ := kv.Key.(*ast.Ident)
						value, _ := kv.Value.(*ast.SelectorExpr)
						if key != nil && value != nil {
							set[key.Name] = value.Sel.Name
						} else if key != nil {
							set[key.Name] = ""
						}
					}
				}
				if level := set["Level"]; level == "LevelFail" || level == "LevelWarn" {
					seen++
					if _, there := set["Remedy"]; !there {
						t.Errorf("%s: no remedy", fset.Position(lit.Pos()))
					}
				}
				return true
			})
		}
	}
	if seen < 20 {
		t.Errorf("only %d findings were seen", seen)
	}
}
