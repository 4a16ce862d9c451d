package wadi

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
	Scheme string `json:"scheme,omitempty"` // Only with Host.
	Host   string `json:"host,omitempty"`   // With its port, if it has one.
	Path   string `json:"path,omitempty"`   // Begins with "/"; may have a query.
	Code   int    `json:"code"`             // 301, 302, 303, 307 or 308.
}
