package wadi

import (
	"cmp"
	"fmt"
	"strings"
)

// RouteRule says what becomes of the requests that meet its conditions. At most one of
// Revision, Tag, Service and Redirect is set; none of them is the service's own split.
type RouteRule struct {
	Name  string    `json:"name"` // Of one service unique.
	Match RuleMatch `json:"match"`

	Revision string    `json:"revision,omitempty"` // Its ID.
	Tag      string    `json:"tag,omitempty"`      // Of a traffic target; in a [Route] Revision has what it stands for.
	Service  string    `json:"service,omitempty"`  // Another service, by whose split the request goes on: neither its tags nor its rules.
	Redirect *Redirect `json:"redirect,omitempty"`

	// PrefixRewrite takes the place of the path that Match names: of all of an exact Path,
	// of the first part with a PathPrefix. Empty: the path stays.
	PrefixRewrite string `json:"prefix_rewrite,omitempty"`
}

// RuleMatch are the conditions of a rule. All that are set have to be met. They are about
// the request as its caller sent it: the path is neither decoded nor cleaned.
type RuleMatch struct {
	Path string `json:"path,omitempty"` // All of it, without the query.

	// PathPrefix is what the path begins with, by whole segments: "/v2" are "/v2" and
	// "/v2/x", and not "/v20". "/v2/" is what is below it alone.
	PathPrefix string `json:"path_prefix,omitempty"`

	Methods []string     `json:"methods,omitempty"` // One of them; none: any.
	Headers []FieldMatch `json:"headers,omitempty"` // Several values of a name are one, with commas in between.
	Query   []FieldMatch `json:"query,omitempty"`   // By the first value of a name, neither decoded; only Exact or Present.
}

// FieldMatch is the condition for a header or for a parameter of the query. Exactly one
// field besides Name is set.
type FieldMatch struct {
	Name    string `json:"name"`
	Exact   string `json:"exact,omitempty"`
	Prefix  string `json:"prefix,omitempty"`
	Suffix  string `json:"suffix,omitempty"`
	Present bool   `json:"present,omitempty"`
}

// Redirect answers a request with another place. Without Host it is on the host that was
// asked, and without Path it is the path that was asked, as the rule's PrefixRewrite leaves
// it. The query is kept, unless Path has one.
type Redirect struct {
	Scheme string `json:"scheme,omitempty"` // Only with Host; empty: https.
	Host   string `json:"host,omitempty"`   // With its port, if it has one.
	Path   string `json:"path,omitempty"`   // Begins with "/"; may have a query.
	Code   int    `json:"code"`             // 301, 302, 303, 307 or 308.
}

// OnPath reports whether the conditions on the path are met, by a path as it was sent,
// without its query. rest is what follows the part that is named.
func (m RuleMatch) OnPath(path string) (rest string, ok bool) {
	switch {
	case !strings.HasPrefix(path, "/"): // OPTIONS *
		return "", false
	case m.Path != "":
		return "", path == m.Path
	case !strings.HasPrefix(path, m.PathPrefix):
		return "", false
	}
	rest = path[len(m.PathPrefix):]
	whole := m.PathPrefix == "" || rest == "" || strings.HasSuffix(m.PathPrefix, "/") || rest[0] == '/'
	return rest, whole
}

// Rewritten is a path that meets the rule's conditions as the destination gets it. What
// follows a prefix stays, and never gets a second slash.
func (r RouteRule) Rewritten(path string) string {
	rest, ok := r.Match.OnPath(path)
	switch {
	case !ok || r.PrefixRewrite == "":
		return path
	case strings.HasPrefix(rest, "/") && !strings.HasSuffix(r.Match.PathPrefix, "/"):
		return strings.TrimSuffix(r.PrefixRewrite, "/") + rest
	}
	return r.PrefixRewrite + rest
}

// Location is where the rule's redirect leads from a path, as it was sent, and a query. It
// is a path of the host that was asked, or a URL with the host that the rule names: nothing
// that a caller sends can be taken for a host, as no path begins with two slashes.
func (r RouteRule) Location(path, query string) string {
	to := r.Redirect
	if to.Path != "" {
		path = to.Path
	} else {
		path = "/" + strings.TrimLeft(r.Rewritten(path), "/\\")
	}
	if query != "" && !strings.Contains(path, "?") {
		path += "?" + query
	}
	path = visible(path)
	if to.Host == "" {
		return path
	}
	return cmp.Or(to.Scheme, "https") + "://" + to.Host + path
}

// visible is s with bytes escaped that no URL has, or that browsers take for others.
func visible(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
