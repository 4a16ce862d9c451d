package activator

import "github.com/wadi-run/wadi"

// SetRoutes replaces what is served, keyed by service. Requests that wait for a
// revision that is no longer in any route, or whose service is being deleted, are
// refused; requests in flight finish.
func (a *Activator) SetRoutes(routes map[string]wadi.Route) {
	a.mu.Lock()
	old := *a.revisions.Load()
	next, deleted := a.revisionsOf(routes, old)
	a.revisions.Store(&next)
	a.deleted.Store(&deleted)
	splits := splitsOf(routes)
	a.splits.Store(&splits)
	redirects := redirectsOf(routes)
	a.redirects.Store(&redirects)
	a.mu.Unlock()

	for id, r := range old {
		if next[id] == r {
			r.reshare()
			r.pokeLoop() // Its settings may have changed.
			continue
		}
		_, routed := routes[r.service]
		if !routed || deleted[r.service] {
			r.close(isDeleted(r.service))
		} else {
			r.retire()
		}
		if !routed {
			a.metrics.forget(r.service)
		}
	}
	a.backlog.Keep(func(revision string) bool { return next[revision] != nil })
}

// serves reports whether a service has a route.
func (a *Activator) serves(service string) bool {
	_, ok := (*a.splits.Load())[service]
	return ok
}

// revisionsOf returns the revisions of routes, the old ones where they are the same, and
// the services that are being deleted.
func (a *Activator) revisionsOf(routes map[string]wadi.Route, old map[string]*revision) (map[string]*revision, map[string]bool) {
	next, deleted := make(map[string]*revision), make(map[string]bool)
	for _, route := range routes {
		if route.Deleted() {
			deleted[route.Service] = true
			continue
		}
		for id, settings := range route.Revisions {
			r := old[id]
			if r == nil || r.service != route.Service || r.protocol != route.Protocol {
				r = newRevision(a, id, route.Service, route.Protocol)
			}
			r.settings.Store(&settings)
			next[id] = r
		}
	}
	return next, deleted
}

// splitsOf returns the splits of the services in routes.
func splitsOf(routes map[string]wadi.Route) map[string]*split {
	all := make(map[string]*split, len(routes))
	for _, route := range routes {
		all[route.Service] = newSplit(route)
	}
	return all
}
