package mesh

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/hashicorp/consul/api"
)

// kinds of a service's entries, in the order in which they can be defined: each
// refers only to those before it.
func kinds() []string {
	return []string{api.ServiceDefaults, api.ServiceResolver, api.ServiceSplitter, api.ServiceRouter}
}

// Change is one write that brings Consul's entries closer to what is wanted.
type Change struct {
	Entry  api.ConfigEntry // What to write; or what to delete, as it is.
	Delete bool
	Index  uint64 // The modify index that the present entry must have; 0: there is none.
}

// Diff says which writes make the entries in have those in want, in an order that
// Consul accepts. If an entry that is wanted is somebody else's, nothing is to be
// written: the name is theirs.
//
// A subset that the present splitter refers to stays in the resolver until the
// splitter has changed: ask again after the changes were made, until there are none.
func Diff(want, have []api.ConfigEntry) (changes []Change, foreign []api.ConfigEntry) {
	for _, h := range have {
		if !ours(h) && find(want, h) != nil {
			foreign = append(foreign, h)
		}
	}
	if len(foreign) > 0 {
		return nil, foreign
	}
	for _, w := range inOrder(want) {
		h := find(have, w)
		if r, ok := w.(*api.ServiceResolverConfigEntry); ok {
			w = keepReferred(r, have)
		}
		switch {
		case h == nil:
			changes = append(changes, Change{Entry: w})
		case !Equal(w, h):
			changes = append(changes, Change{Entry: w, Index: h.GetModifyIndex()})
		}
	}
	gone := inOrder(have)
	slices.Reverse(gone)
	for _, h := range gone {
		if ours(h) && find(want, h) == nil {
			changes = append(changes, Change{Entry: h, Delete: true, Index: h.GetModifyIndex()})
		}
	}
	return changes, foreign
}

// keepReferred adds to r the subsets that the present splitter still refers to.
func keepReferred(r *api.ServiceResolverConfigEntry, have []api.ConfigEntry) api.ConfigEntry {
	present, _ := find(have, r).(*api.ServiceResolverConfigEntry)
	s, _ := find(have, &api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: r.Name}).(*api.ServiceSplitterConfigEntry)
	if present == nil || s == nil {
		return r
	}
	out := *r
	out.Subsets = maps.Clone(r.Subsets)
	for _, split := range s.Splits {
		subset, ok := present.Subsets[split.ServiceSubset]
		if _, wanted := out.Subsets[split.ServiceSubset]; ok && !wanted {
			out.Subsets[split.ServiceSubset] = subset
		}
	}
	return &out
}

// Equal tells whether two entries say the same, apart from their indexes. What is
// empty says nothing: Consul fills in empty objects.
func Equal(a, b api.ConfigEntry) bool {
	x, errX := said(a)
	y, errY := said(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

// said is an entry as JSON, without what is empty.
func said(e api.ConfigEntry) (any, error) {
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
	return pruned(m), nil
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

// find returns the entry of e's kind and name, or nil.
func find(in []api.ConfigEntry, e api.ConfigEntry) api.ConfigEntry {
	for _, x := range in {
		if x.GetKind() == e.GetKind() && x.GetName() == e.GetName() {
			return x
		}
	}
	return nil
}

func inOrder(in []api.ConfigEntry) []api.ConfigEntry {
	order := kinds()
	return slices.SortedStableFunc(slices.Values(in), func(a, b api.ConfigEntry) int {
		return slices.Index(order, a.GetKind()) - slices.Index(order, b.GetKind())
	})
}
