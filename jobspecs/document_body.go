package jobspecs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// document is an object of JSON as the body of a block, so that one reader reads and checks
// services of files and of documents.
type document struct {
	hcl.Body // Nil: the reader calls Content and MissingItemRange only.
	values   object
}

// lists are the blocks that a document has as elements of a list, with the field that is
// the block's label.
var lists = map[string]struct{ key, label string }{
	"upstream": {"upstreams", "service"},
	"metric":   {"metrics", "metric"},
	"schedule": {"schedules", "name"},
	"route":    {"routes", "name"},
	"header":   {"headers", "name"},
	"query":    {"query", "name"},
}

// MissingItemRange implements hcl.Body.
func (b *document) MissingItemRange() hcl.Range { return hcl.Range{} }

// Content implements hcl.Body.
func (b *document) Content(schema *hcl.BodySchema) (*hcl.BodyContent, hcl.Diagnostics) {
	out := &hcl.BodyContent{Attributes: hcl.Attributes{}}
	var diags hcl.Diagnostics
	rest := maps.Clone(b.values)
	for _, a := range schema.Attributes {
		if v, ok := rest[a.Name]; ok {
			out.Attributes[a.Name] = &hcl.Attribute{Name: a.Name, Expr: hcl.StaticExpr(valueOf(v), hcl.Range{})}
			delete(rest, a.Name)
		}
	}
	for _, h := range schema.Blocks {
		key, label := h.Type, ""
		if l, ok := lists[h.Type]; ok {
			key, label = l.key, l.label
		}
		v, ok := rest[key]
		if !ok {
			continue
		}
		delete(rest, key)
		blocks, err := blocksOf(v, h.Type, label)
		if err != nil {
			diags = append(diags, mistake("%s: %s", key, err))
		}
		out.Blocks = append(out.Blocks, blocks...)
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		diags = append(diags, mistake("there is no field %q here", name))
	}
	return out, diags
}

func mistake(format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: fmt.Sprintf(format, args...)}
}

// blocksOf makes a block of an object, or one of each object in a list.
func blocksOf(v any, kind, label string) (blocks hcl.Blocks, err error) {
	all := []any{v}
	if label != "" || kind == "traffic" {
		var ok bool
		if all, ok = v.([]any); !ok {
			return nil, fmt.Errorf("a list of objects is required, got %s", given(valueOf(v)))
		}
	}
	for _, e := range all {
		o, ok := e.(object)
		if !ok {
			return nil, fmt.Errorf("an object is required, got %s", given(valueOf(e)))
		}
		b := &hcl.Block{Type: kind}
		if label != "" {
			name, ok := o[label].(string)
			if !ok {
				return nil, fmt.Errorf("each object needs the field %q, a string", label)
			}
			b.Labels, b.LabelRanges = []string{name}, []hcl.Range{{}}
			o = maps.Clone(o)
			delete(o, label)
		}
		maps.DeleteFunc(o, func(k string, v any) bool { return isUnset(kind, k, v) })
		b.Body = &document{values: o}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// isUnset reports whether the API writes a setting of a block this way when it is a default.
func isUnset(block, name string, v any) bool {
	return block == "metric" && name == "target" && v == json.Number("0") || block == "schedule" && name == "timezone" && v == ""
}

// valueOf is a value of JSON as the reader takes it.
func valueOf(v any) cty.Value {
	switch v := v.(type) {
	case string:
		return cty.StringVal(v)
	case bool:
		return cty.BoolVal(v)
	case json.Number:
		f, _ := strconv.ParseFloat(v.String(), 64) // Too large is infinite, and out of any range.
		return cty.NumberFloatVal(f)
	case []any:
		all := make([]cty.Value, len(v))
		for i, e := range v {
			all[i] = valueOf(e)
		}
		return cty.TupleVal(all)
	case object:
		all := make(map[string]cty.Value, len(v))
		for k, e := range v {
			all[k] = valueOf(e)
		}
		return cty.ObjectVal(all)
	}
	return cty.NullVal(cty.DynamicPseudoType)
}
