package mesh

import (
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// tagged are the targets with a tag, one for each, in the order of the route.
func tagged(r wadi.Route) []wadi.RouteTarget {
	var tags []wadi.RouteTarget
	for _, t := range r.Targets {
		if t.Tag != "" && !slices.ContainsFunc(tags, func(o wadi.RouteTarget) bool { return o.Tag == t.Tag }) {
			tags = append(tags, t)
		}
	}
	return tags
}

// router has the only timeouts that apply behind a splitter. A request that names a tag
// goes to the tag's revision, one that meets a rule where the rule says, and one of a known
// user to that user's. The last route has no match and no service, and so goes on to the
// splitter.
func router(r wadi.Route, tags []wadi.RouteTarget) api.ConfigEntry {
	e := &api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: r.Service, Meta: meta(r.Service)}
	for _, t := range tags {
		e.Routes = append(e.Routes, api.ServiceRoute{
			Match: &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{
				Header: []api.ServiceRouteHTTPMatchHeader{{Name: wadi.HeaderTag, Exact: t.Tag}},
			}},
			Destination: revisionDestination(r, t.Revision),
		})
	}
	e.Routes = append(e.Routes, ruleRoutes(r)...)
	if isSticky(r) {
		e.Routes = append(e.Routes, api.ServiceRoute{Match: stickyMatch(r, nil), Destination: stickyDestination(r)})
	}
	e.Routes = append(e.Routes, api.ServiceRoute{Destination: splitDestination(r)})
	return e
}

// tagDefaults give a tag's own name the protocol without which it could not have a
// router. No instance has that name.
func tagDefaults(r wadi.Route, t wadi.RouteTarget) api.ConfigEntry {
	return &api.ServiceConfigEntry{
		Kind: api.ServiceDefaults, Name: wadi.TagName(t.Tag, r.Service), Protocol: protocol(r.Protocol), Meta: meta(r.Service),
	}
}

// tagSplitter leads a tag's own name to its revision; a resolver's redirect would set no
// headers. An API gateway of Consul's knows no other entry of the name.
func tagSplitter(r wadi.Route, t wadi.RouteTarget) api.ConfigEntry {
	split := splitTo(r, t.Revision, wadi.WeightAll)
	if split.ServiceSubset != "" {
		split.Service = r.Service
	}
	return &api.ServiceSplitterConfigEntry{
		Kind: api.ServiceSplitter, Name: wadi.TagName(t.Tag, r.Service), Meta: meta(r.Service), Splits: []api.ServiceSplit{split},
	}
}

// tagRouter has the timeouts of a tag's own name, which a splitter has not. Its only route
// goes on to the splitter.
func tagRouter(r wadi.Route, t wadi.RouteTarget) api.ConfigEntry {
	return &api.ServiceRouterConfigEntry{
		Kind: api.ServiceRouter, Name: wadi.TagName(t.Tag, r.Service), Meta: meta(r.Service),
		Routes: []api.ServiceRoute{{Destination: destination(longest(r.Revisions[t.Revision]))}},
	}
}

// longest is for how long a revision may keep a caller: in the queue, in the app, and a
// margin more.
func longest(rev wadi.RouteRevision) time.Duration {
	return rev.Timeout.Request.D() + rev.Queue.Timeout.D() + margin
}

// revisionDestination is a revision, within its own timeouts. With no instance of it the
// resolver of the service fails over, as for a splitter's leg.
func revisionDestination(r wadi.Route, revision string) *api.ServiceRouteDestination {
	d := destination(longest(r.Revisions[revision]))
	d.RequestHeaders = headers(r.Service, revision)
	if r.ThroughActivator {
		d.Service = wadi.ActivatorOf(r.Protocol)
	} else {
		d.Service, d.ServiceSubset = r.Service, revision
	}
	return d
}

// splitDestination is the service's own split.
func splitDestination(r wadi.Route) *api.ServiceRouteDestination {
	request, wait := timeouts(r)
	return destination(request + wait + margin)
}

// destination is how every route treats a request, for at most longest.
func destination(longest time.Duration) *api.ServiceRouteDestination {
	return &api.ServiceRouteDestination{
		RequestTimeout: longest,
		IdleTimeout:    longest, // Otherwise Envoy ends a stream without bytes after 300 s.
		NumRetries:     2,
		// With splitter and failover this also moves a refused request to the
		// activator; a route that names a subset only tries another instance.
		RetryOnConnectFailure: true,
		RetryOnStatusCodes:    []uint32{421}, // Another instance's; the app has seen nothing.
	}
}
