package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/wadi-run/wadi"
)

// Compare compares two values as encoding/json decodes them; nil: there is none.
func Compare(name string, before, after any) wadi.Change {
	c := wadi.Change{Name: name, Kind: kindOf(before, after)}
	if !composite(before) && !composite(after) {
		c.Old, c.New = text(before), text(after)
		return c
	}
	old, next := parts(before), parts(after)
	keys := slices.Sorted(maps.Keys(old))
	for _, k := range slices.Sorted(maps.Keys(next)) {
		if _, ok := old[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if part := Compare(k, old[k], next[k]); part.Kind != wadi.ChangeNone {
			c.Changes = append(c.Changes, part)
		}
	}
	return c
}

func kindOf(before, after any) wadi.ChangeKind {
	switch {
	case before == nil && after == nil, reflect.DeepEqual(before, after):
		return wadi.ChangeNone
	case before == nil:
		return wadi.ChangeAdded
	case after == nil:
		return wadi.ChangeDeleted
	}
	return wadi.ChangeEdited
}

func composite(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// parts are the parts of a value by name. Those of a list are numbered.
func parts(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case []any:
		out := make(map[string]any, len(v))
		for i, e := range v {
			out[fmt.Sprintf("[%d]", i)] = e
		}
		return out
	case nil:
		return nil
	}
	return map[string]any{"": v}
}

// text is a value as a reader of HCL expects it; empty for none.
func text(v any) string {
	if v == nil {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return string(bytes.TrimSpace(b.Bytes()))
}
