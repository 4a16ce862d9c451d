package mesh

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// unlimited is a time that Consul makes none of in Envoy.
const unlimited = -time.Second

// ruleRoutes are the routes of the rules, in their order. A prefix is two of them, as Consul
// compares prefixes byte by byte and rules whole segments: the path itself, and what is below
// it.
func ruleRoutes(r wadi.Route) []api.ServiceRoute {
	var routes []api.ServiceRoute
	for _, rule := range r.Rules {
		add := func(exact, prefix, rewrite string) {
			m := match(rule.Match, exact, prefix)
			if isSticky(r) && toSplit(rule) {
				d := stickyDestination(r)
				d.PrefixRewrite = rewriteOf(exact+prefix, rewrite)
				routes = append(routes, api.ServiceRoute{Match: stickyMatch(r, m), Destination: d})
			}
			d := ruleDestination(r, rule)
			d.PrefixRewrite = rewriteOf(exact+prefix, rewrite)
			routes = append(routes, api.ServiceRoute{Match: m, Destination: d})
		}
		m, rewrite := rule.Match, rule.PrefixRewrite
		if rule.Redirect != nil {
			rewrite = "" // The activator needs the path as it is.
		}
		switch {
		case m.Path != "":
			add(m.Path, "", rewrite)
		case m.PathPrefix == "" || strings.HasSuffix(m.PathPrefix, "/"):
			add("", m.PathPrefix, rewrite)
		default:
			add(m.PathPrefix, "", rewrite)
			below := rewrite
			if below != "" {
				below = strings.TrimSuffix(rewrite, "/") + "/"
			}
			add("", m.PathPrefix+"/", below)
		}
	}
	return routes
}

// rewriteOf is what makes a path of one that matches. Of "/" alone Consul makes a regular
// expression, in which the characters of the prefix are not quoted, an exact path is left as
// it is, and a slash too much is swallowed. An instance's Envoy takes the dots away before it
// judges who may call, and so does an activator.
func rewriteOf(matched, to string) string {
	switch {
	case to == matched:
		return ""
	case to != "/":
		return to
	case strings.HasSuffix(matched, "/"):
		return "/./"
	}
	return "/."
}

// toSplit reports whether a rule leads to the service's own split.
func toSplit(rule wadi.RouteRule) bool {
	return rule.Redirect == nil && rule.Service == "" && rule.Revision == ""
}

func match(m wadi.RuleMatch, exact, prefix string) *api.ServiceRouteMatch {
	http := &api.ServiceRouteHTTPMatch{PathExact: exact, PathPrefix: prefix, Methods: slices.Clone(m.Methods)}
	for _, h := range m.Headers {
		http.Header = append(http.Header, api.ServiceRouteHTTPMatchHeader{
			Name: h.Name, Exact: h.Exact, Prefix: h.Prefix, Suffix: h.Suffix, Present: h.Present,
		})
	}
	for _, q := range m.Query {
		http.QueryParam = append(http.QueryParam, api.ServiceRouteHTTPMatchQueryParam{Name: q.Name, Exact: q.Exact, Present: q.Present})
	}
	return &api.ServiceRouteMatch{HTTP: http}
}

// ruleDestination is where a rule leads, without its rewrite.
//
// Of another service it is the splitter, which names that service and its revision to the
// receiver; its own router, and so its tags, rules and users, is left out. Its times are its
// own: its instances and activators keep them, and Envoy adds none.
//
// A redirect is answered by an activator, to which the request names the rule.
func ruleDestination(r wadi.Route, rule wadi.RouteRule) *api.ServiceRouteDestination {
	switch {
	case rule.Redirect != nil:
		d := splitDestination(r)
		d.Service, d.RequestHeaders = wadi.ActivatorOf(r.Protocol), headers(r.Service, "")
		d.RequestHeaders.Set[wadi.HeaderRoute] = rule.Name
		return d
	case rule.Service != "":
		d := destination(unlimited)
		d.Service = rule.Service
		return d
	case rule.Revision != "":
		return revisionDestination(r, rule.Revision)
	}
	return splitDestination(r)
}
