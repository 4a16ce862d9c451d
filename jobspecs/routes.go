package jobspecs

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
)

// Bounds of what one service adds to every caller's proxy.
const (
	maxRoutes = 32
	maxFields = 8 // Headers of one route, and as many parameters.

	maxFieldLength = 128 // Of a name.
)

// RoutePath is the path of a route block of a service.
func RoutePath(name string) string { return "route." + name }

// checkedMethods are the methods that Consul accepts in a route, and that no proxy treats in
// another way.
var checkedMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

func (r *reader) route(b *hcl.Block, path string, s *wadi.Service) {
	rule := wadi.RouteRule{Name: b.Labels[0]}
	if !label.MatchString(rule.Name) || len(rule.Name) > 63 {
		r.addf(b.LabelRanges[0], path, "%q is no name; use at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends", cut(rule.Name, 63))
	}
	r.body(b.Body, path, []setting{
		{"revision", text(&rule.Revision, func(id string) error { return checkRuled(id, s.Name) })},
		{"tag", text(&rule.Tag, func(tag string) error { return checkRuledTag(tag, s.Name) })},
		{"service", text(&rule.Service, func(name string) error { return checkOther(name, s.Name) })},
		{"prefix_rewrite", text(&rule.PrefixRewrite, checkRewrite)},
	}, []nested{
		{name: "match", read: func(b *hcl.Block, path string) { r.match(b, path, &rule.Match) }},
		{name: "redirect", read: func(b *hcl.Block, path string) {
			rule.Redirect = &wadi.Redirect{Code: http.StatusFound}
			r.redirect(b, path, rule.Redirect)
		}},
	})
	r.require(b, path, "match", "the requests that the route is for, for instance match { path_prefix = \"/v2\" }")
	s.Routes = append(s.Routes, rule)
}

func (r *reader) match(b *hcl.Block, path string, m *wadi.RuleMatch) {
	methods := stringList(&m.Methods, len(checkedMethods), checkRouteMethod)
	r.body(b.Body, path, []setting{
		{"path", text(&m.Path, checkRawPath)},
		{"path_prefix", text(&m.PathPrefix, checkRawPath)},
		{"methods", func(v cty.Value) error {
			err := methods(v)
			if err == nil && len(m.Methods) == 0 {
				return errors.New("at least one is required; for any method leave it out")
			}
			return err
		}},
	}, []nested{
		{name: "header", label: "name", many: true, read: func(b *hcl.Block, path string) {
			f := wadi.FieldMatch{Name: b.Labels[0]}
			if err := checkMatchedHeader(f.Name); err != nil {
				r.addf(b.LabelRanges[0], path, "%s", err)
			}
			r.field(b, path, &f, []setting{
				{"exact", text(&f.Exact, checkHeaderValue)}, {"prefix", text(&f.Prefix, checkHeaderValue)},
				{"suffix", text(&f.Suffix, checkHeaderValue)}, {"present", flag(&f.Present)},
			})
			m.Headers = append(m.Headers, f)
		}},
		{name: "query", label: "name", many: true, read: func(b *hcl.Block, path string) {
			f := wadi.FieldMatch{Name: b.Labels[0]}
			if err := checkParameter(f.Name, "=&#?"); err != nil || len(f.Name) > maxFieldLength {
				r.addf(b.LabelRanges[0], path, "%q can't be the name of a parameter; write it as it is sent, escaped, without =, and with at most %d characters", cut(f.Name, maxFieldLength), maxFieldLength)
			}
			r.field(b, path, &f, []setting{
				{"exact", text(&f.Exact, func(v string) error { return checkParameter(v, "&#") })}, {"present", flag(&f.Present)},
			})
			m.Query = append(m.Query, f)
		}},
	})
	switch {
	case m.Path != "" && m.PathPrefix != "":
		r.addf(b.DefRange, path, "only one of path and path_prefix may be set")
	case r.good(path+".path", path+".path_prefix", path+".methods") && reflect.ValueOf(*m).IsZero():
		r.addf(b.DefRange, path, "a match needs a condition: path, path_prefix, methods, header or query; for all requests write path_prefix = \"/\"")
	}
	for _, f := range []struct {
		block string
		n     int
	}{{"header", len(m.Headers)}, {"query", len(m.Query)}} {
		if f.n > maxFields {
			r.addf(b.DefRange, path+"."+f.block, "at most %d blocks are allowed, got %d", maxFields, f.n)
		}
	}
}

// field reads one condition of a header or a parameter.
func (r *reader) field(b *hcl.Block, path string, f *wadi.FieldMatch, settings []setting) {
	r.body(b.Body, path, settings, nil)
	set, names := 0, make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.name
		if _, ok := r.ranges[join(path, s.name)]; ok {
			set++
		}
	}
	_, there := r.ranges[path+".present"]
	switch {
	case set != 1:
		r.addf(b.DefRange, path, "exactly one of %s is required", strings.Join(names, ", "))
	case there && !f.Present && r.good(path+".present"):
		r.addf(b.DefRange, path+".present", "only true is possible: no route is for requests without something")
	}
}

func (r *reader) redirect(b *hcl.Block, path string, to *wadi.Redirect) {
	r.body(b.Body, path, []setting{
		{"scheme", oneOf(&to.Scheme, "http", "https")},
		{"host", text(&to.Host, checkHostPort)},
		{"path", text(&to.Path, checkNewPath)},
		{"code", integer(&to.Code, 301, 308)},
	}, nil)
	if r.good(path+".code") && !slices.Contains([]int{301, 302, 303, 307, 308}, to.Code) {
		r.addf(r.ranges[path+".code"], path+".code", "%d is not one of 301, 302, 303, 307, 308", to.Code)
	}
	if to.Scheme != "" && to.Host == "" && r.good(path+".host") {
		r.addf(b.DefRange, path+".scheme", "a scheme needs a host: add host = \"…\", or remove it (the gateway itself redirects to https with gateway.tls { redirect = true })")
	}
}

// checkRoutes checks the routes of a service, each and together.
func (r *reader) checkRoutes(s *wadi.Service, report func(path, format string, args ...any)) {
	if len(s.Routes) > maxRoutes {
		report(RoutePath(s.Routes[maxRoutes].Name), "at most %d routes are possible, got %d", maxRoutes, len(s.Routes))
		return
	}
	for i, rule := range s.Routes {
		path := RoutePath(rule.Name)
		if !r.good(path+".revision", path+".tag", path+".service", path+".prefix_rewrite", path+".match.path", path+".match.path_prefix", path+".match.methods") {
			continue
		}
		r.checkRoute(rule, s, path, report)
		for _, earlier := range s.Routes[:i] {
			if !reflect.ValueOf(rule.Match).IsZero() && reflect.DeepEqual(earlier.Match, rule.Match) {
				report(path+".match", "the route %q has the same match%s, and the first that is met holds", earlier.Name, atLine(" ", r.ranges[RoutePath(earlier.Name)+".match"]))
				break
			}
		}
	}
}

func (r *reader) checkRoute(rule wadi.RouteRule, s *wadi.Service, path string, report func(path, format string, args ...any)) {
	ways := 0
	for _, set := range []bool{rule.Revision != "", rule.Tag != "", rule.Service != "", rule.Redirect != nil} {
		if set {
			ways++
		}
	}
	m, rewrite := rule.Match, rule.PrefixRewrite
	switch {
	case ways > 1:
		report(path, "only one of revision, tag, service and redirect may be set")
	case ways == 0 && rewrite == "":
		report(path, "the route leads nowhere: set one of revision, tag, service and redirect; or prefix_rewrite, to go on by the traffic blocks with another path")
	}
	switch {
	case rewrite == "":
	case m.Path == "" && m.PathPrefix == "":
		report(path+".prefix_rewrite", "it takes the place of match.path or match.path_prefix; set one of them")
	case strings.HasSuffix(m.PathPrefix, "/") && !strings.HasSuffix(rewrite, "/"):
		report(path+".prefix_rewrite", "match.path_prefix ends in /, so it must too: %q", rewrite+"/")
	}
	to := rule.Redirect
	if to == nil || !r.good(path+".redirect.host", path+".redirect.path") {
		return
	}
	switch {
	case s.Protocol == wadi.GRPC && r.good("protocol"):
		report(path+".redirect", "clients of gRPC follow no redirect; set a revision, tag or service (protocol is set %s)", r.origin("protocol"))
	case to.Path != "" && rewrite != "":
		report(path+".redirect.path", "only one of prefix_rewrite and redirect.path may be set")
	case to.Path == "" && to.Host == "" && rewrite == "":
		report(path+".redirect", "it leads to where it comes from: set host, path or the route's prefix_rewrite")
	case to.Host == "":
		if through, loops := loop(s.Routes, rule); loops {
			report(path+".redirect", "it leads back to itself%s: callers would come for ever", through)
		}
	}
}

// loop follows a redirect to a path of the same service, as far as only paths decide. through
// says which other routes are on the way.
func loop(rules []wadi.RouteRule, from wadi.RouteRule) (through string, loops bool) {
	at := from.Match.Path
	if at == "" { // Any path below.
		at = strings.TrimSuffix(from.Match.PathPrefix, "/") + "/wadi"
	}
	rule := from
	var way []string
	for range rules {
		at, _, _ = strings.Cut(rule.Location(at, ""), "?")
		next := slices.IndexFunc(rules, func(r wadi.RouteRule) bool {
			_, on := r.Match.OnPath(at)
			return on && (onlyPath(r.Match) || r.Name == from.Name)
		})
		if next < 0 || rules[next].Redirect == nil || rules[next].Redirect.Host != "" {
			return "", false
		}
		if rule = rules[next]; rule.Name == from.Name {
			if len(way) > 0 {
				through = " through " + strings.Join(way, ", ")
			}
			return through, true
		}
		way = append(way, strconv.Quote(rule.Name))
	}
	return "", false
}

func onlyPath(m wadi.RuleMatch) bool { return len(m.Methods)+len(m.Headers)+len(m.Query) == 0 }

// checkRuled accepts the ID of a revision of the service.
func checkRuled(id, service string) error {
	if id == wadi.Latest {
		return fmt.Errorf("a route names a revision that stays: an ID like %q, or a tag; without either it goes on by the traffic blocks", wadi.RevisionID(service, 1))
	}
	if checkTarget(id, service) != nil {
		return fmt.Errorf("%q is no revision of this service; write an ID like %q, or set service for another one", cut(id, 100), wadi.RevisionID(service, 1))
	}
	return nil
}

func checkRuledTag(tag, service string) error {
	if tag == "" {
		return errors.New("it is empty; write the tag of a traffic block, or leave it out")
	}
	return checkTag(tag, service)
}

func checkOther(name, service string) error {
	if name == service {
		return fmt.Errorf("%q is this service itself; leave it out to go on by the traffic blocks, or set revision or tag", name)
	}
	return checkName(name)
}

// checkRawPath accepts a path as requests are compared with it: byte for byte.
func checkRawPath(s string) error {
	if i := strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("?#\\", c) }); i >= 0 {
		return fmt.Errorf("%q holds %q; write the path as it is sent, escaped and without its query", s, s[i:i+1])
	}
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("%q must begin with /", s)
	}
	return nil
}

// checkNewPath accepts a path that a request gets, or is redirected to.
func checkNewPath(s string) error {
	path, query, _ := strings.Cut(s, "?")
	if strings.HasPrefix(path, "//") {
		return fmt.Errorf("%q begins with two slashes, which browsers take for a host", s)
	}
	for _, part := range []string{path, "/" + query} {
		if err := checkRawPath(part); err != nil {
			return err
		}
	}
	if _, err := url.ParseRequestURI(s); err != nil {
		return fmt.Errorf("%q is no path of a URL; escape it", s)
	}
	return nil
}

// checkRewrite accepts what takes the place of a path, or of its beginning.
func checkRewrite(s string) error {
	if strings.Contains(s, "?") {
		return fmt.Errorf("%q has a query; the one that came is kept, so leave it out", s)
	}
	return checkNewPath(s)
}

func checkRouteMethod(s string) error {
	if !slices.Contains(checkedMethods, s) {
		return fmt.Errorf("%q is not one of %s", s, strings.Join(checkedMethods, ", "))
	}
	return nil
}

// checkMatchedHeader accepts a header that the gateway and a mesh caller's Envoy see alike.
func checkMatchedHeader(name string) error {
	lower := strings.ToLower(name)
	has := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(lower, p) })
	}
	switch {
	case name == "" || len(name) > maxFieldLength || strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-'
	}):
		return fmt.Errorf("%q is no name of a header; use letters, digits and hyphens", cut(name, maxFieldLength))
	case lower == "wadi-tag":
		return fmt.Errorf("tags have their own header already, which goes before all routes: give a traffic block the tag")
	case lower == "host":
		return fmt.Errorf("a host is no condition: the gateway and the mesh know a service by other names; use domains, or tags")
	case has("wadi-", "x-forwarded-", "x-envoy-", "proxy-"), slices.Contains([]string{
		"forwarded", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect",
		"x-request-id", "x-real-ip", "via", "date", "cookie",
	}, lower):
		return fmt.Errorf("%q is set, changed or left out by proxies, and not by all in the same way; use a header of your own", name)
	}
	return nil
}

func checkHeaderValue(s string) error {
	if s == "" || strings.TrimSpace(s) != s {
		return fmt.Errorf("%q is empty, or begins or ends with a space, as no value of a header does; for any value write present = true", s)
	}
	return checkPlain(s)
}

// checkParameter accepts what may stand in a query, without some characters.
func checkParameter(s, without string) error {
	if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f }) || strings.ContainsAny(s, without) {
		return fmt.Errorf("%q can't be matched in a query; write it as it is sent, escaped and not empty; for any value write present = true", s)
	}
	return nil
}

func checkHostPort(s string) error {
	if strings.Contains(s, "/") {
		return fmt.Errorf("%q is more than a host; scheme and path have settings of their own", s)
	}
	host, port, has := strings.Cut(s, ":")
	if n, err := strconv.ParseUint(port, 10, 16); has && (err != nil || n == 0) {
		return fmt.Errorf("%q has no port after its colon", s)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	return checkDomain(host)
}
