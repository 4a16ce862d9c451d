package mesh

import (
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// isSticky reports whether callers' headers decide between several revisions.
func isSticky(r wadi.Route) bool {
	return r.Sticky != nil && r.Sticky.Header != "" && len(wadi.SplitOf(r.Targets)) > 1
}

// stickyRoute sends requests with the sticky header to an activator, which chooses the
// revision: a splitter of Consul's can't do it by a header's value. They name no revision.
func stickyRoute(r wadi.Route, longest time.Duration) api.ServiceRoute {
	d := destination(longest)
	d.Service = wadi.ActivatorOf(r.Protocol)
	d.RequestHeaders = headers(r.Service, "")
	return api.ServiceRoute{
		Match: &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{
			Header: []api.ServiceRouteHTTPMatchHeader{{Name: r.Sticky.Header, Present: true}},
		}},
		Destination: d,
	}
}
