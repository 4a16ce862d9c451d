package main

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

type schema = map[string]any

// generator makes the schemas of the types that a document names.
type generator struct {
	*types
	out     map[string]any // By name.
	request map[string]bool
	todo    []string
}

// schemas returns the schemas with these names, and of all types inside them. Those of request
// bodies forbid unknown keys, as the agent does; answers may get further keys later.
func (t *types) schemas(names, bodies []string) (map[string]any, error) {
	g := &generator{types: t, out: map[string]any{}, request: map[string]bool{}}
	for _, list := range []struct {
		names   []string
		request bool
	}{{bodies, true}, {names, false}} {
		g.todo = slices.Clone(list.names)
		for len(g.todo) > 0 {
			name := g.todo[0]
			g.todo = g.todo[1:]
			if g.out[name] != nil {
				continue
			}
			d := t.named(name)
			if d == nil {
				return nil, fmt.Errorf("the document names the schema %s, and packages api and wadi have no such type", name)
			}
			s, err := g.of(d, list.request)
			if err != nil {
				return nil, fmt.Errorf("%s.%s: %w", d.pkg, d.name, err)
			}
			g.out[name] = s
		}
	}
	return g.out, nil
}

// of is the schema of a declared type.
func (g *generator) of(d *declared, request bool) (schema, error) {
	if s := byText(d); s != nil {
		return describe(s, d.doc), nil
	}
	st, ok := d.expr.(*ast.StructType)
	if !ok {
		s, err := g.expr(d.pkg, d.expr)
		if err == nil && len(d.enum) > 0 {
			s["enum"] = d.enum
		}
		return describe(s, d.doc), err
	}
	properties, required := schema{}, []any{}
	if err := g.fields(d.pkg, st, properties, &required); err != nil {
		return nil, err
	}
	if request { // The agent takes null for a key that is left out.
		for key, p := range properties {
			if !slices.Contains(required, any(key)) {
				properties[key] = orNull(p.(schema))
			}
		}
	}
	s := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if request {
		s["additionalProperties"] = false
	}
	return describe(s, d.doc), nil
}

// byText is the schema of a type that writes itself as text; nil: it does not.
func byText(d *declared) schema {
	if d.pkg == "wadi" && d.name == "Duration" {
		return schema{"type": "string", "pattern": `^-?(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`}
	}
	return nil
}

// fields adds the fields of a struct, those of embedded structs included.
func (g *generator) fields(pkg string, st *ast.StructType, properties schema, required *[]any) error {
	for _, f := range st.Fields.List {
		tag := readTag(f)
		if tag.skip {
			continue
		}
		if len(f.Names) == 0 && tag.name == "" {
			if err := g.embed(pkg, f, properties, required); err != nil {
				return err
			}
			continue
		}
		for _, name := range f.Names {
			if !name.IsExported() {
				continue
			}
			if tag.name == "" {
				return fmt.Errorf("field %s has no name in JSON", name.Name)
			}
			s, err := g.field(pkg, f, tag)
			if err != nil {
				return fmt.Errorf("field %s: %w", name.Name, err)
			}
			properties[tag.name] = s
			if !tag.optional {
				*required = append(*required, tag.name)
			}
		}
	}
	return nil
}

func (g *generator) embed(pkg string, f *ast.Field, properties schema, required *[]any) error {
	e := f.Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	pkg, name := qualified(pkg, e)
	d := g.find(pkg, name)
	if d == nil {
		return fmt.Errorf("embedded %s.%s is not known", pkg, name)
	}
	st, ok := d.expr.(*ast.StructType)
	if !ok {
		return fmt.Errorf("embedded %s is no struct", name)
	}
	return g.fields(pkg, st, properties, required)
}

// field is the schema of one field. What Go writes as null when it is nil may be null, unless
// it is left out then.
func (g *generator) field(pkg string, f *ast.Field, tag jsonTag) (schema, error) {
	s, err := g.expr(pkg, f.Type)
	if err != nil {
		return nil, err
	}
	nullable := false
	switch f.Type.(type) {
	case *ast.StarExpr, *ast.ArrayType, *ast.MapType:
		nullable = !tag.optional
	}
	if nullable {
		s = orNull(s)
	}
	return describe(s, strings.TrimSpace(plain(f.Doc)+" "+plain(f.Comment))), nil
}

func orNull(s schema) schema {
	if _, already := s["type"].([]any); already {
		return s
	}
	if t, ok := s["type"].(string); ok {
		s["type"] = []any{t, "null"}
		return s
	}
	return schema{"anyOf": []any{s, schema{"type": "null"}}}
}

func describe(s schema, text string) schema {
	if text != "" {
		s["description"] = text
	}
	return s
}

// qualified is the package and the name of a type.
func qualified(pkg string, e ast.Expr) (string, string) {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		if id, ok := e.X.(*ast.Ident); ok {
			return id.Name, e.Sel.Name
		}
	case *ast.Ident:
		return pkg, e.Name
	}
	return pkg, ""
}

// expr is the schema of a type as it is used.
func (g *generator) expr(pkg string, e ast.Expr) (schema, error) {
	switch e := e.(type) {
	case *ast.StarExpr:
		return g.expr(pkg, e.X)
	case *ast.ArrayType:
		items, err := g.expr(pkg, e.Elt)
		return schema{"type": "array", "items": items}, err
	case *ast.MapType:
		values, err := g.expr(pkg, e.Value)
		return schema{"type": "object", "additionalProperties": values}, err
	}
	of, name := qualified(pkg, e)
	if s := builtin(of, name); s != nil {
		return s, nil
	}
	d := g.find(of, name)
	if d == nil {
		return nil, fmt.Errorf("the type %s.%s has no schema", of, name)
	}
	g.todo = append(g.todo, g.title(d))
	return schema{"$ref": schemaRef + g.title(d)}, nil
}

// builtin is the schema of a type of Go or of its library; nil: it is another.
func builtin(pkg, name string) schema {
	switch {
	case pkg == "time" && name == "Time":
		return schema{"type": "string", "format": "date-time"}
	case pkg == "json" && name == "RawMessage":
		return schema{}
	}
	switch name {
	case "string":
		return schema{"type": "string"}
	case "bool":
		return schema{"type": "boolean"}
	case "int", "int64":
		return schema{"type": "integer"}
	case "uint64":
		return schema{"type": "integer", "minimum": 0}
	case "float64":
		return schema{"type": "number"}
	case "any":
		return schema{}
	}
	return nil
}
