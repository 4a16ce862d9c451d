package mesh

import (
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// isSticky reports whether callers' headers decide between several revisions.
func isSticky(r wadi.Route) bool {
	return r.Sticky != nil && r.Sticky.Header != "" && len(wadi.SplitOf(r.Targets)) > 1
}

// stickyMatch is met by requests with the sticky header that meet m, too; nil: all do.
func stickyMatch(r wadi.Route, m *api.ServiceRouteMatch) *api.ServiceRouteMatch {
	http := api.ServiceRouteHTTPMatch{}
	if m != nil {
		http = *m.HTTP
	}
	http.Header = append(http.Header[:len(http.Header):len(http.Header)], api.ServiceRouteHTTPMatchHeader{Name: r.Sticky.Header, Present: true})
	return &api.ServiceRouteMatch{HTTP: &http}
}

// stickyDestination is an activator, which chooses the revision by the sticky header: a
// splitter of Consul's can't do it by a header's value. The requests name no revision.
func stickyDestination(r wadi.Route) *api.ServiceRouteDestination {
	d := splitDestination(r)
	d.Service = wadi.ActivatorOf(r.Protocol)
	d.RequestHeaders = headers(r.Service, "")
	return d
}
