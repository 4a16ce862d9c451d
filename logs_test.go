package wadi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	// keyRule is how the name of a fact is written in the log.
	keyRule = regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)*$`)
	// messageRule: a constant text without a full stop; facts are in the pairs after it.
	messageRule = regexp.MustCompile(`^([a-z]|[A-Z]{2})[^%]*[^.!:%\s]$`)
)

// sameFact are names that would make one fact two in the log.
var sameFact = map[string]string{
	"err": "error", "svc": "service", "rev": "revision", "alloc": "instance", "allocation": "instance", "ns": "namespace",
	"duration": "took", "elapsed": "took", "why": "reason", "cause": "reason", "addr": "address", "url": "address",
	"filename": "file", "token": "nothing: a token is not logged", "secret": "nothing: a secret is not logged",
}

// Each line of the log has a constant message in lower case, and facts in pairs, each
// with the one name that it has everywhere.
func TestLogs_KeysAreConsistent(t *testing.T) {
	calls := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "test" || path == "bench" || path == "tools" || d.Name() != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && logs(call) {
				calls++
				for _, wrong := range wrongIn(call) {
					t.Errorf("%s: %s", files.Position(call.Pos()), wrong)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || calls < 50 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// logs reports whether a call writes a line to a logger, which is called log everywhere.
func logs(call *ast.CallExpr) bool {
	of, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch of.Sel.Name {
	case "Trace", "Debug", "Info", "Warn", "Error":
	default:
		return false
	}
	switch x := of.X.(type) {
	case *ast.Ident:
		return strings.EqualFold(x.Name, "log")
	case *ast.SelectorExpr:
		return strings.EqualFold(x.Sel.Name, "log")
	}
	return false
}

// wrongIn is what is wrong with a line. A message or a list of pairs that is computed
// is not judged.
func wrongIn(call *ast.CallExpr) (wrong []string) {
	if message, ok := literal(call.Args[0]); ok && !messageRule.MatchString(message) {
		wrong = append(wrong, "the message "+strconv.Quote(message)+" is no constant text in lower case without a full stop")
	}
	pairs := call.Args[1:]
	if call.Ellipsis.IsValid() {
		return wrong
	}
	if len(pairs)%2 != 0 {
		return append(wrong, "a name without a value")
	}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := literal(pairs[i])
		switch {
		case !ok:
			wrong = append(wrong, "a name that is no constant")
		case !keyRule.MatchString(name):
			wrong = append(wrong, "the name "+strconv.Quote(name)+" is not in snake_case")
		case sameFact[name] != "":
			wrong = append(wrong, strconv.Quote(name)+" is called "+sameFact[name])
		}
	}
	return wrong
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
