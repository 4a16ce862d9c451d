package main

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// types are the types whose JSON the API sends, by their names in the document.
type types struct {
	decls map[string]*declared
}

// declared is a type as the source has it.
type declared struct {
	pkg  string // "api" or "wadi".
	name string
	doc  string
	expr ast.Expr
	enum []any // The values of its constants, if it is a string.
}

// load reads the types of packages wadi and api.
func load(root string) (*types, error) {
	t := &types{decls: map[string]*declared{}}
	for _, p := range []struct{ name, dir string }{{"api", "api"}, {"wadi", "."}} {
		if err := t.read(p.name, filepath.Join(root, p.dir)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *types) read(pkg, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	var consts []*ast.GenDecl
	fset := token.NewFileSet()
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			switch {
			case !ok:
			case g.Tok == token.TYPE:
				t.declare(pkg, g)
			case g.Tok == token.CONST:
				consts = append(consts, g)
			}
		}
	}
	for _, g := range consts {
		t.addEnum(pkg, g)
	}
	return nil
}

func (t *types) declare(pkg string, g *ast.GenDecl) {
	for _, spec := range g.Specs {
		s := spec.(*ast.TypeSpec)
		doc := s.Doc
		if doc == nil {
			doc = g.Doc
		}
		d := &declared{pkg: pkg, name: s.Name.Name, doc: plain(doc), expr: s.Type}
		t.decls[pkg+"."+s.Name.Name] = d
	}
}

// addEnum gives the string types of constants their values.
func (t *types) addEnum(pkg string, g *ast.GenDecl) {
	for _, spec := range g.Specs {
		s := spec.(*ast.ValueSpec)
		name, ok := s.Type.(*ast.Ident)
		if !ok {
			continue
		}
		d := t.decls[pkg+"."+name.Name]
		if d == nil || !isIdent(d.expr, "string") {
			continue
		}
		for _, v := range s.Values {
			if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value) // The parser read it.
				d.enum = append(d.enum, text)
			}
		}
	}
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// title is the type's name in the document. A type of package wadi whose name a type of package
// api has too is the stored one.
func (t *types) title(d *declared) string {
	if d.pkg == "wadi" && t.decls["api."+d.name] != nil {
		return "Stored" + d.name
	}
	return d.name
}

// named returns the type with a name in the document, or nil.
func (t *types) named(title string) *declared {
	for _, d := range t.decls {
		if t.title(d) == title {
			return d
		}
	}
	return nil
}

// find returns the type that an identifier in package pkg names; nil: one of the language.
func (t *types) find(pkg, name string) *declared { return t.decls[pkg+"."+name] }

// plain is a comment as text in one paragraph for each of its own, without links' brackets.
func plain(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	var p comment.Parser
	text := (&comment.Printer{TextWidth: -1}).Text(p.Parse(g.Text()))
	return strings.TrimSpace(string(text))
}

// jsonTag is what a field's tag says about its JSON.
type jsonTag struct {
	name     string
	optional bool // Left out when it is empty.
	skip     bool
}

func readTag(f *ast.Field) jsonTag {
	if f.Tag == nil {
		return jsonTag{}
	}
	raw, _ := strconv.Unquote(f.Tag.Value) // The parser read it.
	name, options, _ := strings.Cut(reflect.StructTag(raw).Get("json"), ",")
	return jsonTag{
		name: name, skip: name == "-",
		optional: strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero"),
	}
}
