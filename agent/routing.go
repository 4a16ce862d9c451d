package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wadi-run/wadi"
)

// routing is the present routes of all services. Make it with newRouting. It is safe for
// concurrent use.
type routing struct {
	now   atomic.Pointer[map[string]wadi.Route]
	first sync.Once
	known chan struct{} // Closed by announce.
}

func newRouting() *routing {
	r := &routing{known: make(chan struct{})}
	r.now.Store(&map[string]wadi.Route{})
	return r
}

// set replaces the routes, by service. They must not be changed afterwards.
func (r *routing) set(routes map[string]wadi.Route) { r.now.Store(&routes) }

// announce makes it known that there are routes, once every part has the first ones.
func (r *routing) announce() { r.first.Do(func() { close(r.known) }) }

// all returns the routes by service; empty before the first set. They must not be changed.
func (r *routing) all() map[string]wadi.Route { return *r.now.Load() }

func (r *routing) route(service string) (wadi.Route, bool) {
	route, ok := r.all()[service]
	return route, ok
}

// namespaceOf returns the Nomad namespace of a routed revision's job.
func (r *routing) namespaceOf(revision string) (string, bool) {
	service, _, _ := wadi.SplitRevisionID(revision)
	route, ok := r.route(service)
	if _, known := route.Revisions[revision]; !ok || !known {
		return "", false
	}
	return route.Namespace, true
}

// namespaces returns the Nomad namespaces that services are in. known is false before
// the first announce.
func (r *routing) namespaces() (all []string, known bool) {
	select {
	case <-r.known:
	default:
		return nil, false
	}
	for _, route := range r.all() {
		if !slices.Contains(all, route.Namespace) {
			all = append(all, route.Namespace)
		}
	}
	return all, true
}

// ready waits for the first announce: before it, every service would be unknown.
func (r *routing) ready(ctx context.Context) error {
	select {
	case <-r.known:
		return nil
	case <-ctx.Done():
		return errors.New("they are not read yet")
	}
}
