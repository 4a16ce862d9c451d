package mesh

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/hashicorp/consul/api"
)

// Equal reports whether two entries say the same. It ignores indexes, and empty values, as
// Consul fills in empty objects. Of intentions it ignores the order of sources, and what
// Consul derives or fills in: precedence and type.
func Equal(a, b api.ConfigEntry) bool {
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

// canonical is an entry as JSON, without what is empty or Consul's own.
func canonical(e api.ConfigEntry) (any, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	delete(m, "CreateIndex")
	delete(m, "ModifyIndex")
	if sources, ok := m["Sources"].([]any); ok && e.GetKind() == api.ServiceIntentions {
		canonicalSources(sources)
	}
	return pruned(m), nil
}

// canonicalSources brings the sources of intentions into one form and order.
func canonicalSources(sources []any) {
	for _, s := range sources {
		m, ok := s.(map[string]any)
		if !ok {
			continue
		}
		delete(m, "Precedence")
		for key, filledIn := range map[string]string{
			"Type": string(api.IntentionSourceConsul), "Namespace": "default", "Partition": "default",
		} {
			if m[key] == filledIn {
				delete(m, key)
			}
		}
	}
	slices.SortFunc(sources, func(a, b any) int {
		x, _ := json.Marshal(pruned(a)) // Of what was JSON a moment ago.
		y, _ := json.Marshal(pruned(b))
		return bytes.Compare(x, y)
	})
}

// pruned is v without empty parts; nil if nothing is left.
func pruned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x = pruned(x); x == nil {
				delete(v, k)
			} else {
				v[k] = x
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i := range v {
			v[i] = pruned(v[i])
		}
	case string:
		if v == "" {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}
