package mesh

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// kinds of entries, in the order in which they can be written: each refers only to those
// before it, and intentions come before routing.
func kinds() []string { return append([]string{api.ServiceIntentions}, routing()...) }

// routing are the kinds that route a name.
func routing() []string {
	return []string{api.ServiceDefaults, api.ServiceResolver, api.ServiceSplitter, api.ServiceRouter}
}

// Change is one write that brings Consul's entries closer to what is wanted.
type Change struct {
	Entry  api.ConfigEntry // What to write; or what to delete, as it is.
	Delete bool
	Index  uint64 // The modify index that the present entry must have; 0: there is none.
}

// Diff says which writes make the entries in have, as far as they are service's,
// those in want, in an order that Consul accepts.
//
// An entry that is wanted, or that routes a name which the service is to route, is foreign
// if Wadi did not write it for the owner of the wanted entry. Then nothing is to be
// written: the name belongs to others. Foreign intentions only prevent managed ones:
// a half-written route leads callers astray, and other intentions do not.
//
// A subset to which the present entries refer stays in the resolver until they have
// changed, and its failover is there only while there is a splitter that names service and
// revision: without those names an activator can't route a request. Call Diff again after
// the changes were made, until there are none.
func Diff(service string, want, have []api.ConfigEntry) (changes []Change, foreign []api.ConfigEntry) {
	blocked := false
	for _, h := range have {
		if isForeign(service, want, h) {
			foreign = append(foreign, h)
			blocked = blocked || h.GetKind() != api.ServiceIntentions
		}
	}
	if blocked {
		return nil, foreign
	}
	for _, w := range inOrder(want) {
		if find(foreign, w) != nil {
			continue
		}
		h := find(have, w)
		if r, ok := w.(*api.ServiceResolverConfigEntry); ok {
			w = keepReferred(failoverLast(r, h, have), have)
		}
		switch {
		case h == nil:
			changes = append(changes, Change{Entry: w})
		case !Equal(w, h):
			changes = append(changes, Change{Entry: w, Index: h.GetModifyIndex()})
		}
	}
	if r := withdrawn(service, want, have); r != nil {
		return append(changes, *r), foreign
	}
	gone := inOrder(have)
	slices.Reverse(gone)
	for _, h := range gone {
		if owner(h) == service && find(want, h) == nil {
			changes = append(changes, Change{Entry: h, Delete: true, Index: h.GetModifyIndex()})
		}
	}
	return changes, foreign
}

// isForeign reports whether a foreign entry is where a managed one has to be, or under a
// name that managed entries route.
func isForeign(service string, want []api.ConfigEntry, h api.ConfigEntry) bool {
	if w := find(want, h); w != nil {
		return owner(h) != owner(w)
	}
	return owner(h) != service && slices.Contains(routing(), h.GetKind()) && findNamed(want, api.ServiceRouter, h.GetName()) != nil
}

// failoverLast is r without its failover, until the present splitter names service and
// revision to the activator. A failover that exists already stays.
func failoverLast(r *api.ServiceResolverConfigEntry, h api.ConfigEntry, have []api.ConfigEntry) *api.ServiceResolverConfigEntry {
	present, _ := h.(*api.ServiceResolverConfigEntry)
	if present != nil && len(present.Failover) > 0 || namesItself(r.Name, have) {
		return r
	}
	out := *r
	out.Failover = nil
	return &out
}

// namesItself reports whether the present splitter of a service names it on every leg.
func namesItself(service string, have []api.ConfigEntry) bool {
	s, _ := findNamed(have, api.ServiceSplitter, service).(*api.ServiceSplitterConfigEntry)
	return s != nil && !slices.ContainsFunc(s.Splits, func(leg api.ServiceSplit) bool {
		return leg.RequestHeaders == nil || leg.RequestHeaders.Set[wadi.HeaderService] != service
	})
}

// withdrawn takes the failover out of a service's resolver before its splitter goes;
// nil: there is nothing to take.
func withdrawn(service string, want, have []api.ConfigEntry) *Change {
	r, _ := findNamed(have, api.ServiceResolver, service).(*api.ServiceResolverConfigEntry)
	s := findNamed(have, api.ServiceSplitter, service)
	if r == nil || owner(r) != service || len(r.Failover) == 0 || s == nil || owner(s) != service || find(want, s) != nil {
		return nil
	}
	out := *r
	out.Failover = nil
	return &Change{Entry: &out, Index: r.GetModifyIndex()}
}

// keepReferred adds to r the subsets to which the present splitters and routers
// still refer.
func keepReferred(r *api.ServiceResolverConfigEntry, have []api.ConfigEntry) api.ConfigEntry {
	present, _ := find(have, r).(*api.ServiceResolverConfigEntry)
	if present == nil {
		return r
	}
	out := *r
	out.Subsets = maps.Clone(r.Subsets)
	for _, name := range referred(r.Name, have) {
		subset, ok := present.Subsets[name]
		if _, wanted := out.Subsets[name]; ok && !wanted {
			out.Subsets[name] = subset
		}
	}
	return &out
}

// referred are the subsets of a service that entries name.
func referred(service string, in []api.ConfigEntry) []string {
	var subsets []string
	add := func(from, to, subset string) {
		if cmp.Or(to, from) == service && subset != "" {
			subsets = append(subsets, subset)
		}
	}
	for _, e := range in {
		switch e := e.(type) {
		case *api.ServiceSplitterConfigEntry:
			for _, s := range e.Splits {
				add(e.Name, s.Service, s.ServiceSubset)
			}
		case *api.ServiceRouterConfigEntry:
			for _, r := range e.Routes {
				if d := r.Destination; d != nil {
					add(e.Name, d.Service, d.ServiceSubset)
				}
			}
		}
	}
	return subsets
}

// find returns the entry of e's kind and name, or nil.
func find(in []api.ConfigEntry, e api.ConfigEntry) api.ConfigEntry {
	return findNamed(in, e.GetKind(), e.GetName())
}

func findNamed(in []api.ConfigEntry, kind, name string) api.ConfigEntry {
	for _, x := range in {
		if x.GetKind() == kind && x.GetName() == name {
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
