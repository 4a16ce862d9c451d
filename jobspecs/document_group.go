package jobspecs

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// maxGroupNest is how deep a changed group may be nested: deeper than any of a file. Nomad
// and Wadi write it into further objects, and decoders of JSON stop at 10,000.
const maxGroupNest = 2000

// exact refuses what decoders of JSON read in more than one way, or Nomad not at all: names
// in another case than the API's, and nulls in lists. Wadi, its rules and Nomad have to see
// the same tasks.
func exact(group []byte) error {
	o, err := toObject(group)
	if err != nil {
		return err
	}
	return exactAs(o, reflect.TypeFor[api.TaskGroup](), "", 0)
}

// exactAs checks a value of JSON that is read as a t; t is nil where anything may stand.
func exactAs(v any, t reflect.Type, path string, depth int) error {
	if depth > maxGroupNest {
		return fmt.Errorf("%.100s is nested more than %d deep", path, maxGroupNest)
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := v.(type) {
	case object:
		fields := fieldsOf(t)
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if err := exactName(name, fields, path); err != nil {
				return err
			}
			if err := exactAs(v[name], elementOf(t, fields, name), join(path, name), depth+1); err != nil {
				return err
			}
		}
	case []any:
		for i, e := range v {
			at := fmt.Sprintf("%s[%d]", path, i)
			if e == nil && t != nil && t.Kind() == reflect.Slice {
				return fmt.Errorf("%s is null", at)
			}
			if err := exactAs(e, elementOf(t, nil, ""), at, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// exactName refuses a name that is a field's in another case.
func exactName(name string, fields map[string]reflect.Type, path string) error {
	if _, ok := fields[name]; ok {
		return nil
	}
	for field := range fields {
		if strings.EqualFold(field, name) {
			return fmt.Errorf("%q is written %q there", join(path, name), join(path, field))
		}
	}
	return nil
}

// elementOf is the type of what is in a t: of a field of a struct, or of any element.
func elementOf(t reflect.Type, fields map[string]reflect.Type, name string) reflect.Type {
	switch {
	case t == nil:
		return nil
	case t.Kind() == reflect.Struct:
		return fields[name]
	case t.Kind() == reflect.Map || t.Kind() == reflect.Slice:
		if e := t.Elem(); e.Kind() != reflect.Interface {
			return e
		}
	}
	return nil
}

// fieldsOf are the fields of a struct by their names in JSON; nil: t is none.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name != "":
			fields[name] = f.Type
		default:
			fields[f.Name] = f.Type
		}
	}
	return fields
}
