package jobspecs

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// object is a JSON object without nulls. Its numbers are json.Number, so that durations
// keep all their digits. It always marshals to the same bytes.
type object = map[string]any

func toObject(data []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var o object
	if err := dec.Decode(&o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, fmt.Errorf("an object is required, got null")
	}
	dropNulls(o)
	return o, nil
}

// asObject turns a value of Go types into an object.
func asObject(v any) (object, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return toObject(data)
}

func dropNulls(v any) {
	switch v := v.(type) {
	case object:
		for k, e := range v {
			if e == nil {
				delete(v, k)
				continue
			}
			dropNulls(e)
		}
	case []any:
		for _, e := range v {
			dropNulls(e)
		}
	}
}

// inner is the object under key, which it adds if it is missing.
func inner(o object, key string) object {
	if m, ok := o[key].(object); ok {
		return m
	}
	m := object{}
	o[key] = m
	return m
}
