package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/secrets"
)

// Settings compares two services setting by setting, under the names that the settings have
// in HCL. The instance is left out: Nomad compares its jobs. A nil service has no settings.
// A setting that makes a revision has a note.
func Settings(before, after *wadi.Service) []wadi.Change {
	old, next := settings(before), settings(after)
	paths := slices.Collect(maps.Keys(next))
	for p := range old {
		if _, ok := next[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	var out []wadi.Change
	for _, p := range paths {
		c := wadi.Change{Name: p, Kind: kindOf(value(old, p), value(next, p)), Old: old[p], New: next[p]}
		if c.Kind == wadi.ChangeNone {
			continue
		}
		if !jobspecs.InPlace(p) {
			c.Note = "forces a new revision"
		}
		out = append(out, Bound(secrets.Change(c)))
	}
	return out
}

func value(of map[string]string, path string) any {
	if v, ok := of[path]; ok {
		return v
	}
	return nil
}

// SameInstance reports whether two services run the same tasks.
func SameInstance(a, b wadi.Service) bool {
	only := func(s wadi.Service) string { return jobspecs.Hash(wadi.Service{Instance: s.Instance}) }
	return only(a) == only(b)
}

// names are the settings whose name in HCL is not their name in JSON.
var names = map[string]string{
	"concurrency_limit": "concurrency.limit", "upstreams": "upstream", "metrics": "metric", "schedules": "schedule",
	"routes": "route", "headers": "header",
}

// labels are the fields by which the elements of a list are told apart, in the order in
// which they are looked for.
var labels = []string{"metric", "name", "service", "revision"}

// settings are the settings of a service by path.
func settings(s *wadi.Service) map[string]string {
	out := map[string]string{}
	if s == nil {
		return out
	}
	plain := *s
	plain.Instance = nil
	b, err := json.Marshal(plain)
	if err != nil {
		return out // A service without its instance always marshals.
	}
	var m map[string]any
	if json.Unmarshal(b, &m) != nil {
		return out
	}
	delete(m, "instance")
	collect(out, "", m)
	return out
}

// collect adds the settings below a path.
func collect(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			name := k
			if n, ok := names[k]; ok && path != "meta" { // The keys of meta are the user's.
				name = n
			}
			collect(out, strings.TrimPrefix(path+"."+name, "."), e)
		}
		return
	case []any:
		if len(v) > 0 && composite(v[0]) {
			for _, e := range v {
				collectLabelled(out, path, e)
			}
			return
		}
	case nil:
		return
	}
	out[path] = text(v)
}

// collectLabelled adds the settings of one element of a list: a block with a label.
func collectLabelled(out map[string]string, path string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	label := ""
	for _, l := range labels {
		if s, ok := m[l].(string); ok && label == "" {
			label = s
			delete(m, l)
		}
	}
	block := fmt.Sprintf("%s %q", path, label)
	if tag, ok := m["tag"].(string); ok && tag != "" && path == "traffic" { // A revision may have several.
		block = fmt.Sprintf("%s %q", path, label+"@"+tag)
		delete(m, "tag")
	}
	if len(m) == 0 {
		out[block] = "{}"
	}
	for k, e := range m {
		collect(out, block+"."+k, e)
	}
}
