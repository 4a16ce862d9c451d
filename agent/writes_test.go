package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
)

// writeCalls are the calls of the clients of Nomad and Consul that write.
var writeCalls = []string{
	"Acquire", "Release", "Txn", "Put", "CAS", "DeleteCAS", "DeleteTree", "Delete", "Set", "Write", "Create", "Destroy", "Renew", "Register",
	"RegisterOpts", "Deregister", "ServiceRegisterOpts", "ServiceDeregisterOpts", "UpdateTTLOpts", "PassTTL", "Scale", "Signal", "Stop", "Restart", "Plan",
}

// writers are the functions that write to Nomad and Consul, by the packages that hold their
// clients.
func writers(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	var out []string
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && writes(f) {
				out = append(out, file.Name.Name+"."+f.Name.Name)
			}
		}
	}
	return out
}

// writes reports whether a function calls one of writeCalls through a client's api().
func writes(f *ast.FuncDecl) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(writeCalls, sel.Sel.Name) && throughAPI(sel.X) {
			found = true
		}
		return true
	})
	return found
}

// throughAPI reports whether an expression is a client's api(), or a part of it.
func throughAPI(x ast.Expr) (is bool) {
	ast.Inspect(x, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && (sel.Sel.Name == "api" || sel.Sel.Name == "API") {
				is = true
			}
		}
		return true
	})
	return is
}

// Every function that writes to Nomad or Consul has its row, with what it is conditional on, in
// the decision record. One without is a write that a deposed leader may make.
func TestWrites_HaveTheirRow(t *testing.T) {
	page, err := os.ReadFile("../docs/adr/0039-no-write-of-a-deposed-leader.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[A-Za-z]+)` \\|[^|]+\\|[^|]+\\|$").FindAllStringSubmatch(string(page), -1) {
		rows = append(rows, m[1])
	}
	found := append(writers(t, "../internal/consul"), writers(t, "../internal/nomad")...)
	slices.Sort(rows)
	slices.Sort(found)
	if diff := cmp.Diff(slices.Compact(found), rows); diff != "" {
		t.Errorf("functions that write, and rows of the table (-code +table):\n%s", diff)
	}
}

// No other package writes through the clients' own API: what it wrote would have no row.
func TestWrites_GoThroughTheAdapters(t *testing.T) {
	for _, dir := range []string{".", "../internal", "../proxy", "../scheduler", "../jobspecs"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, own := range []string{"internal/devcluster/", "internal/consul/", "internal/nomad/"} {
				if strings.Contains(path, own) {
					return nil
				}
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && writes(f) {
					t.Errorf("%s: %s writes past the adapter", path, f.Name.Name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// backends are a Nomad and a Consul that note what is written to them, and answer reads with
// nothing.
type backends struct {
	mu     sync.Mutex
	writes []string
}

func (b *backends) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		b.mu.Lock()
		b.writes = append(b.writes, r.Method+" "+r.URL.Path)
		b.mu.Unlock()
	}
	w.Header().Set("X-Consul-Index", "1")
	w.Header().Set("X-Nomad-Index", "1")
	fmt.Fprintln(w, "{}")
}

func (b *backends) taken() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.writes
	b.writes = nil
	return out
}

// Nothing that the leader's loops can call writes for an agent that no longer leads, whether it
// knows that or not. Methods that are added later are called too.
func TestWrites_NoneOfADeposedLeader(t *testing.T) {
	seenBy := &backends{}
	srv := httptest.NewServer(seenBy)
	defer srv.Close()
	nc, err := nomad.New(nomad.Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	cc, err := consul.New(consul.Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range []deposed{{knows: true}, {knows: false}} {
		leading := leaderNomad{controlNomad{nc}, lease, seen{"x": {Exists: true, Count: 0, Index: 7}}}
		seenBy.taken()
		for _, loop := range []any{leading, leaderPrefetches{leading, nc, &installation{store: store.New(cc, "wadi/", "x", hclog.NewNullLogger())}}, leaderEntries{cc, lease}} {
			v := reflect.ValueOf(loop)
			for i := range v.NumMethod() {
				name := v.Type().Method(i).Name
				call(t, v.Method(i))
				for _, write := range seenBy.taken() {
					if why := harmless(lease, loop, name, write); why == "" {
						t.Errorf("%T.%s (it knows: %t): %s gets through", loop, name, lease.knows, write)
					}
				}
			}
		}
	}
}

// harmless is why a deposed leader may make a call; empty: it may not.
func harmless(lease deposed, loop any, method, write string) string {
	_, entries := loop.(leaderEntries)
	switch {
	case method == "PrefetchJobs" && write == "PUT /v1/txn":
		return "any agent names an installation that has no name"
	case strings.HasSuffix(write, "/plan"):
		return "Nomad plans, and changes nothing"
	case method == "Note" && !lease.knows:
		return "a message in a job's history changes nothing"
	case method == "Scale" && !lease.knows && !entries:
		return "the call raises a count, at the index at which a lower one was seen"
	}
	return ""
}

// call calls a method with arguments that would do something.
func call(t *testing.T, m reflect.Value) {
	t.Helper()
	in := make([]reflect.Value, m.Type().NumIn())
	for i := range in {
		switch typ := m.Type().In(i); typ {
		case reflect.TypeFor[context.Context]():
			in[i] = reflect.ValueOf(t.Context())
		case reflect.TypeFor[json.RawMessage]():
			in[i] = reflect.ValueOf(json.RawMessage(`{"ID":"x","Namespace":"default","TaskGroups":[{"Name":"` + wadi.GroupInstance + `","Count":1}]}`))
		case reflect.TypeFor[api.ConfigEntry]():
			in[i] = reflect.ValueOf(&api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "x"})
		case reflect.TypeFor[string]():
			in[i] = reflect.ValueOf("x")
		case reflect.TypeFor[int]():
			in[i] = reflect.ValueOf(1)
		case reflect.TypeFor[uint64]():
			in[i] = reflect.ValueOf(uint64(7))
		default:
			in[i] = reflect.Zero(typ)
		}
	}
	m.Call(in)
}
