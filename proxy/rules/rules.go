// Package rules finds the rule of a route that a request meets, and rewrites its path.
//
// It promises to judge as the Envoys of mesh callers do: by the bytes that came, neither
// decoded nor cleaned, by the first value of a parameter, and by all values of a header
// with commas in between. It decides nothing about where a request goes.
package rules

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// HeaderOriginalPath has the path and query that a caller sent, where a rule has rewritten
// them: Envoy's own name for it.
const HeaderOriginalPath = "X-Envoy-Original-Path"

// Set are the rules of one route, in their order. The zero value has none. It never changes.
type Set struct{ rules []wadi.RouteRule }

// Of prepares rules.
func Of(all []wadi.RouteRule) Set {
	s := Set{slices.Clone(all)}
	for i := range s.rules {
		headers := slices.Clone(s.rules[i].Match.Headers)
		for j := range headers {
			headers[j].Name = http.CanonicalHeaderKey(headers[j].Name)
		}
		s.rules[i].Match.Headers = headers
	}
	return s
}

// Equal reports whether two sets say the same.
func (s Set) Equal(other Set) bool {
	return len(s.rules) == len(other.rules) && (len(s.rules) == 0 || reflect.DeepEqual(s.rules, other.rules))
}

// Find returns the first rule that r meets; nil: none.
func (s Set) Find(r *http.Request) *wadi.RouteRule {
	if len(s.rules) == 0 {
		return nil
	}
	path, query, _ := strings.Cut(target(r), "?")
	for i := range s.rules {
		if meets(&s.rules[i].Match, r, path, query) {
			return &s.rules[i]
		}
	}
	return nil
}

// meets reports whether r, of this path and query, meets all conditions.
func meets(m *wadi.RuleMatch, r *http.Request, path, query string) bool {
	if _, ok := m.OnPath(path); !ok || len(m.Methods) > 0 && !slices.Contains(m.Methods, r.Method) {
		return false
	}
	for i := range m.Headers {
		values, there := r.Header[m.Headers[i].Name]
		if !there || !holds(&m.Headers[i], joined(m.Headers[i].Name, values)) {
			return false
		}
	}
	for i := range m.Query {
		value, there := parameter(query, m.Query[i].Name)
		if !there || !holds(&m.Query[i], value) {
			return false
		}
	}
	return true
}

func holds(m *wadi.FieldMatch, value string) bool {
	switch {
	case m.Exact != "":
		return value == m.Exact
	case m.Prefix != "":
		return strings.HasPrefix(value, m.Prefix)
	case m.Suffix != "":
		return strings.HasSuffix(value, m.Suffix)
	}
	return m.Present
}

// joined is the value of a header with several lines.
func joined(name string, values []string) string {
	switch {
	case len(values) == 1:
		return values[0]
	case name == "Cookie":
		return strings.Join(values, "; ")
	}
	return strings.Join(values, ",")
}

// parameter is the first value of a name in a query, as it was sent.
func parameter(query, name string) (value string, ok bool) {
	for query != "" {
		var p string
		p, query, _ = strings.Cut(query, "&")
		if key, value, _ := strings.Cut(p, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// Rewrite gives r the path that rule makes of its own. The query stays, byte for byte.
func Rewrite(r *http.Request, rule *wadi.RouteRule) error {
	if rule.PrefixRewrite == "" {
		return nil
	}
	was := target(r)
	path, query, queried := strings.Cut(was, "?")
	next := rule.Rewritten(path)
	if queried {
		next += "?" + query
	}
	u, err := url.ParseRequestURI(next)
	if err != nil {
		return fmt.Errorf("the path that route %q makes is none", rule.Name)
	}
	r.URL, r.RequestURI = u, next
	r.Header[HeaderOriginalPath] = []string{was}
	return nil
}

// Location is where a redirect leads r.
func Location(r *http.Request, rule *wadi.RouteRule) string {
	path, query, _ := strings.Cut(target(r), "?")
	return rule.Location(path, query)
}

// target is the path and query that came, byte for byte.
func target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") || r.RequestURI == "*" {
		return r.RequestURI
	}
	return cmp.Or(r.URL.RequestURI(), "/") // It has a host.
}
