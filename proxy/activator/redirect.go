package activator

import (
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/rules"
)

// Redirect answers r, which meets rule, with the place where the rule's redirect leads.
func Redirect(w http.ResponseWriter, r *http.Request, rule *wadi.RouteRule) {
	deadline.EndUnread(w, r)
	w.Header().Set("Location", rules.Location(r, rule))
	answer(w, r, rule.Redirect.Code, nil)
}

// redirects are the rules of a service that redirect, by name.
type redirects map[string]*wadi.RouteRule

// redirectsOf returns the redirects of the services that have any.
func redirectsOf(routes map[string]wadi.Route) map[string]redirects {
	all := map[string]redirects{}
	for _, route := range routes {
		for i := range route.Rules {
			rule := &route.Rules[i]
			if rule.Redirect == nil {
				continue
			}
			if all[route.Service] == nil {
				all[route.Service] = redirects{}
			}
			all[route.Service][rule.Name] = rule
		}
	}
	return all
}

// redirect answers a mesh caller's request that names a rule. The rule may be gone already,
// or not be known yet.
func (a *Activator) redirect(w http.ResponseWriter, r *http.Request, record *RequestRecord, service, name string) {
	rule := (*a.redirects.Load())[service][name]
	if rule == nil {
		a.refuse(w, r, record, noSuchRoute(service, name))
		return
	}
	Redirect(w, r, rule)
}
