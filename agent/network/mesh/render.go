package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// What marks an entry as managed.
const (
	metaManagedBy = "managed-by"
	managedByWadi = "wadi"
	metaService   = "wadi-service"
)

// MetaRevision is the key of an instance's service meta that names its revision.
const MetaRevision = "revision"

// margin is by how much Envoy's timeouts exceed Wadi's own, so that Wadi's answer
// is the one that a caller gets.
const margin = 5 * time.Second

// connectTimeout is how long a caller's Envoy tries an instance, as long as Wadi's own
// dial. It includes the TLS handshake, and one that takes longer fails all calls that wait
// for a connection to that host, of which Envoy sends three again: with one second hundreds
// of calls of a cold service on a busy machine failed, with five some did at ten times its
// load. A host that is gone is removed by Consul, not by this timeout.
const connectTimeout = 10 * time.Second

// leg is what a revision gets of a route's traffic.
type leg struct {
	revision string
	weight   int // In hundredths of a percent; 0 is routed to by name only.
}

// Render returns the config entries of a route, in the order in which they can be
// written: intentions come before routing, and a name is defined before it is referred
// to.
//
// A route with no revision in the mesh has none. That of a service that is being deleted
// keeps its name and its intentions while its last instances run, and routes to an
// activator, which answers that it is deleted.
func Render(r wadi.Route) []api.ConfigEntry {
	if !InMesh(r) {
		return nil
	}
	var entries []api.ConfigEntry
	if r.Intentions != nil {
		entries = append(entries, intentions(r))
	}
	if r.Deleted() {
		return append(entries, deletedEntries(r)...)
	}
	legs, tags := legsOf(r), tagged(r)
	entries = append(entries, defaults(r))
	for _, t := range tags {
		entries = append(entries, tagDefaults(r, t))
	}
	entries = append(entries, resolver(r, legs), splitter(r, legs))
	for _, t := range tags {
		entries = append(entries, tagSplitter(r, t))
	}
	entries = append(entries, router(r, tags))
	for _, t := range tags {
		entries = append(entries, tagRouter(r, t))
	}
	return entries
}

// RenderActivator returns what the failover of every service of a protocol needs:
// the protocol of its activator. Other activators' entries are left out, so that a foreign
// entry for one of them hinders no service that does not need it.
func RenderActivator(p wadi.Protocol) []api.ConfigEntry {
	name := wadi.ActivatorOf(p)
	return []api.ConfigEntry{&api.ServiceConfigEntry{
		Kind: api.ServiceDefaults, Name: name, Protocol: protocol(p), Meta: meta(name),
	}}
}

// protocol is Consul's word for what an app speaks.
func protocol(p wadi.Protocol) string {
	switch p {
	case wadi.H2C:
		return "http2"
	case wadi.GRPC:
		return "grpc"
	}
	return "http"
}

// InMesh reports whether any revision of the route is in the mesh: while the mode changes,
// its revisions differ. Those outside are reached through the activator.
func InMesh(r wadi.Route) bool {
	if r.Mesh != wadi.MeshOff {
		return true
	}
	return slices.ContainsFunc(r.Targets, func(t wadi.RouteTarget) bool {
		rev, ok := r.Revisions[t.Revision]
		return ok && rev.Mesh != wadi.MeshOff
	})
}

// legsOf adds up the weights of each revision: Consul refuses two legs to one
// subset. The order is that of the targets, and then of the rules.
func legsOf(r wadi.Route) []leg {
	var legs []leg
	for _, t := range r.Targets {
		i := slices.IndexFunc(legs, func(l leg) bool { return l.revision == t.Revision })
		if i < 0 {
			i, legs = len(legs), append(legs, leg{revision: t.Revision})
		}
		legs[i].weight += t.Weight
	}
	for _, rule := range r.Rules {
		if rule.Revision != "" && !slices.ContainsFunc(legs, func(l leg) bool { return l.revision == rule.Revision }) {
			legs = append(legs, leg{revision: rule.Revision})
		}
	}
	return legs
}

func defaults(r wadi.Route) api.ConfigEntry {
	request, _ := timeouts(r)
	return &api.ServiceConfigEntry{
		Kind: api.ServiceDefaults, Name: r.Service, Protocol: protocol(r.Protocol), Meta: meta(r.Service),
		LocalRequestTimeoutMs: int((request + margin).Milliseconds()),
	}
}

// resolver finds the instances of each leg, and an activator where there are none.
func resolver(r wadi.Route, legs []leg) api.ConfigEntry {
	e := &api.ServiceResolverConfigEntry{
		Kind: api.ServiceResolver, Name: r.Service, Meta: meta(r.Service),
		ConnectTimeout: connectTimeout,
		Subsets:        map[string]api.ServiceResolverSubset{},
		Failover:       map[string]api.ServiceResolverFailover{"*": {Service: wadi.ActivatorOf(r.Protocol)}},
	}
	if len(legs) > 0 {
		e.DefaultSubset = slices.MaxFunc(legs, func(a, b leg) int { return cmp.Compare(a.weight, b.weight) }).revision
	}
	for _, l := range legs {
		e.Subsets[l.revision] = api.ServiceResolverSubset{
			Filter:      fmt.Sprintf("Service.Meta.%s == `%s`", MetaRevision, l.revision),
			OnlyPassing: true,
		}
	}
	return e
}

func splitter(r wadi.Route, legs []leg) api.ConfigEntry {
	e := &api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: r.Service, Meta: meta(r.Service)}
	for _, l := range legs {
		if l.weight == 0 {
			continue
		}
		e.Splits = append(e.Splits, splitTo(r, l.revision, l.weight))
	}
	return e
}

// splitTo leads to a revision of the service whose splitter it is for.
func splitTo(r wadi.Route, revision string, weight int) api.ServiceSplit {
	split := api.ServiceSplit{Weight: float32(weight) / 100, RequestHeaders: headers(r.Service, revision)}
	if r.ThroughActivator {
		split.Service = wadi.ActivatorOf(r.Protocol)
	} else {
		split.ServiceSubset = revision
	}
	return split
}

// headers name the service and the revision, if there is one, to the receiver of a
// request, and remove what a caller claims in Wadi's name.
func headers(service, revision string) *api.HTTPHeaderModifiers {
	set := map[string]string{wadi.HeaderService: service}
	if revision != "" {
		set[wadi.HeaderRevision] = revision
	}
	h := &api.HTTPHeaderModifiers{Set: set}
	for _, name := range wadi.InternalHeaders() {
		if _, ok := set[name]; !ok {
			h.Remove = append(h.Remove, name)
		}
	}
	return h
}

// timeouts are the largest of the routed revisions, and of all once none is: of a
// request, and of waiting for an instance.
func timeouts(r wadi.Route) (request, wait time.Duration) {
	legs := legsOf(r)
	for id, rev := range r.Revisions {
		if r.Deleted() || slices.ContainsFunc(legs, func(l leg) bool { return l.revision == id }) {
			request = max(request, rev.Timeout.Request.D())
			wait = max(wait, rev.Queue.Timeout.D())
		}
	}
	return request, wait
}

func meta(service string) map[string]string {
	return map[string]string{metaManagedBy: managedByWadi, metaService: service}
}

// owner is the service, or activator, for which Wadi wrote an entry; empty: it is foreign.
func owner(e api.ConfigEntry) string {
	m := e.GetMeta()
	if m[metaManagedBy] != managedByWadi {
		return ""
	}
	return m[metaService]
}
