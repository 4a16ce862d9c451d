package intentions

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/consul/api"
)

// match is whether a request has a property. If Envoy's answer can't be known it is maybe,
// which counts as whatever allows less.
type match int

const (
	no match = iota
	maybe
	yes
)

func matchOf(b bool) match {
	if b {
		return yes
	}
	return no
}

// permission is one L7 rule of a source.
type permission struct {
	allow   bool
	jwt     bool // Requires a JWT, which can't be verified here.
	path    pathRule
	methods []string // Empty: all methods.
	headers []headerRule
}

// pathRule matches a path; at most one field is set.
type pathRule struct {
	exact, prefix string
	regex         *regexp.Regexp
	unknown       bool // The rule can't be evaluated.
}

// headerRule matches a header's value.
type headerRule struct {
	name    string // In lower case.
	present bool
	invert  bool
	text    func(value string) match // nil: present decides.
}

func compilePermission(p *api.IntentionPermission) permission {
	if p == nil {
		return permission{path: pathRule{unknown: true}}
	}
	out := permission{allow: p.Action == api.IntentionActionAllow, jwt: hasJWT(p.JWT)}
	if p.HTTP == nil {
		return out
	}
	out.methods = p.HTTP.Methods
	switch {
	case p.HTTP.PathExact != "":
		out.path.exact = p.HTTP.PathExact
	case p.HTTP.PathPrefix != "":
		out.path.prefix = p.HTTP.PathPrefix
	case p.HTTP.PathRegex != "":
		out.path.regex = whole(p.HTTP.PathRegex)
		out.path.unknown = out.path.regex == nil
	}
	for _, h := range p.HTTP.Header {
		out.headers = append(out.headers, compileHeader(h))
	}
	return out
}

// whole compiles a regular expression that must match the whole text; nil if Go does not
// accept it.
func whole(expr string) *regexp.Regexp {
	if _, err := regexp.Compile(expr); err != nil {
		return nil
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	if err != nil {
		return nil
	}
	return re
}

func compileHeader(h api.IntentionHTTPHeaderPermission) headerRule {
	out := headerRule{name: strings.ToLower(h.Name), present: h.Present, invert: h.Invert}
	test := func(f func(value, want string) bool, want string) {
		if h.IgnoreCase {
			want = lower(want)
		}
		out.text = func(value string) match {
			if h.IgnoreCase {
				value = lower(value)
			}
			return matchOf(f(value, want))
		}
	}
	switch { // In Consul's order; it accepts only one of them.
	case h.Exact != "":
		test(func(value, want string) bool { return value == want }, h.Exact)
	case h.Regex != "":
		re := whole(h.Regex)
		out.text = func(value string) match { return matches(re, value) }
	case h.Prefix != "":
		test(strings.HasPrefix, h.Prefix)
	case h.Suffix != "":
		test(strings.HasSuffix, h.Suffix)
	case h.Contains != "":
		test(strings.Contains, h.Contains)
	case !h.Present:
		out.text = func(string) match { return maybe }
	}
	return out
}

// lower changes the case of ASCII only, as Envoy does.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// matches applies a regular expression. Go and Envoy differ on text that is not UTF-8.
func matches(re *regexp.Regexp, s string) match {
	if re == nil || !utf8.ValidString(s) {
		return maybe
	}
	return matchOf(re.MatchString(s))
}

// judgeRequest applies the first permission that matches. A request that matches none
// falls to the default, not to the wildcard source.
func (s *source) judgeRequest(r *Request, defaultAllow bool) (bool, string) {
	if plain(r.Path) {
		return s.judgePath(r, r.Path, defaultAllow)
	}
	// The mesh's configuration decides which of these forms an instance's Envoy uses, and
	// none of them may be a way around a rule.
	for n := range pathForms {
		path, ok := pathForm(r.Path, n)
		if !ok {
			return false, "its path has no form that intentions are about"
		}
		if allowed, why := s.judgePath(r, path, defaultAllow); !allowed {
			return false, why
		}
	}
	return true, ""
}

func (s *source) judgePath(r *Request, path string, defaultAllow bool) (bool, string) {
	for i := range s.permissions {
		p := &s.permissions[i]
		switch m := p.matches(r, path); {
		case m == no, m == maybe && p.allow && !p.jwt:
		case p.allow && !p.jwt:
			return true, ""
		case p.allow:
			return false, fmt.Sprintf("permission %d of the intention wants a JWT, which can't be verified here", i+1)
		default:
			return false, fmt.Sprintf("permission %d of the intention denies it", i+1)
		}
	}
	if defaultAllow {
		return true, ""
	}
	return false, "no permission of the intention is about it, and the default is to deny"
}

func (p *permission) matches(r *Request, path string) match {
	m := p.path.matches(path)
	if m == no || len(p.methods) > 0 && !slices.Contains(p.methods, r.Method) {
		return no
	}
	for i := range p.headers {
		if m = min(m, p.headers[i].matches(r)); m == no {
			return no
		}
	}
	return m
}

// matchesAll reports whether every request matches. Every path begins with a slash, or is
// refused.
func (p *permission) matchesAll() bool {
	return p.path.exact == "" && p.path.regex == nil && !p.path.unknown && (p.path.prefix == "" || p.path.prefix == "/") &&
		len(p.methods) == 0 && len(p.headers) == 0
}

func (p *pathRule) matches(path string) match {
	switch {
	case p.unknown:
		return maybe
	case p.exact != "":
		return matchOf(path == p.exact)
	case p.prefix != "":
		return matchOf(strings.HasPrefix(path, p.prefix))
	case p.regex != nil:
		return matches(p.regex, path)
	}
	return yes
}

func (h *headerRule) matches(r *Request) match {
	value, found := r.header(h.name)
	switch {
	case found == maybe:
		return maybe
	case found == no:
		// Envoy inverts the match of a value, but not the absence of a header.
		return matchOf(h.text == nil && h.invert)
	case h.text == nil:
		return matchOf(!h.invert)
	}
	m := h.text(value)
	if h.invert && m != maybe {
		return yes - m
	}
	return m
}
