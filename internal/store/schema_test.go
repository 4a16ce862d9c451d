package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/store"
)

// kinds are all kinds of stored values, by their constants.
func kinds(t *testing.T) (out []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "codec.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && fmt.Sprint(v.Type) == "kind" {
			name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Error(err)
			}
			out = append(out, name)
		}
		return true
	})
	if len(out) < 17 {
		t.Fatalf("kinds %v, want all of them", out)
	}
	return out
}

// A value of every kind says its schema. One of a newer Wadi is refused, whatever kind it is,
// and the error says what to do; fields that are new within a schema are no reason.
func TestSchema_OfEveryKind(t *testing.T) {
	c := store.NewCodec()
	for _, k := range kinds(t) {
		var v any
		err := c.DecodeAs(k, fmt.Appendf(nil, `{"schema":2,"kind":%q,"data":{}}`, k), &v)
		if err == nil || !strings.Contains(err.Error(), "written by a newer Wadi: its schema is 2, this agent knows 1; upgrade this agent") {
			t.Errorf("a newer %s: got %v, want it refused", k, err)
		}
		if err := c.DecodeAs(k, fmt.Appendf(nil, `{"schema":1,"kind":%q,"data":{"new":1},"new":1}`, k), &v); err != nil {
			t.Errorf("a %s with more fields: %v", k, err)
		}
	}
}

// What an older Wadi stored is lifted when it is read, and stored in the new schema with the next
// write. The older one refuses it then, and goes on with all others.
func TestSchema_IsLiftedInTheStore(t *testing.T) {
	f, older := openFake(t)
	submit(t, older, "hello", 1, 0)
	submit(t, older, "other", 1, 0)
	rename := func(b json.RawMessage) (json.RawMessage, error) {
		return bytes.ReplaceAll(b, []byte(`"file":"hello.hcl"`), []byte(`"file":"lifted.hcl"`)), nil
	}
	newer := open(t, f.URL).Lifting("spec", rename)
	spec, index, err := newer.Spec(t.Context(), "hello")
	if err != nil || spec.File != "lifted.hcl" {
		t.Fatalf("read as %q, %v; want it lifted", spec.File, err)
	}
	if spec, _, err := older.Spec(t.Context(), "hello"); err != nil || spec.File != "hello.hcl" {
		t.Errorf("the older one reads %q, %v; want it as it was: nothing was written", spec.File, err)
	}
	spec.Generation++
	if _, err := newer.Submit(t.Context(), []wadi.Submission{{Spec: spec, Index: index}}); err != nil {
		t.Fatal(err)
	}
	if spec, _, err := newer.Spec(t.Context(), "hello"); err != nil || spec.File != "lifted.hcl" || spec.Generation != 2 {
		t.Errorf("read again as %q, generation %d, %v", spec.File, spec.Generation, err)
	}
	w := leader(t, older)
	if _, err := w.Load(t.Context(), "hello"); !errors.Is(err, wadi.ErrUnreadable) || !strings.Contains(err.Error(), "upgrade this agent") {
		t.Errorf("an older leader: got %v, want it refused", err)
	}
	if st, err := w.Load(t.Context(), "other"); err != nil || st.Service.Name != "other" {
		t.Errorf("the other service: got %q, %v; want it untouched", st.Service.Name, err)
	}
	loaded := map[string]error{}
	w.LoadSome(t.Context(), []string{"hello", "other", "none"}, func(name string, _ wadi.Stored, err error) { loaded[name] = err })
	if !errors.Is(loaded["hello"], wadi.ErrUnreadable) || loaded["other"] != nil || !errors.Is(loaded["none"], wadi.ErrNotFound) {
		t.Errorf("read together: %v", loaded)
	}
}
