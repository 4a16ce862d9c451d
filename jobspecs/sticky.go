package jobspecs

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
)

// How long a sticky cookie lives, unless set, and at most: browsers keep none longer.
const (
	stickyTTL    = 24 * time.Hour
	maxStickyTTL = 400 * 24 * time.Hour
)

// maxFieldName bounds the name of a header or cookie.
const maxFieldName = 64

// fieldName matches a token of HTTP (RFC 9110, section 5.6.2).
var fieldName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// sticky reads how a user is kept on one revision.
func (r *reader) sticky(b *hcl.Block, path string, s *wadi.Service) {
	var k wadi.Sticky
	r.body(b.Body, path, []setting{
		{"cookie", text(&k.Cookie, checkCookie)},
		{"ttl", wholeSeconds(duration(&k.TTL, time.Minute, maxStickyTTL), &k.TTL)},
		{"header", text(&k.Header, checkStickyHeader)},
	}, nil)
	s.Sticky = &k
	_, cookie := r.ranges[path+".cookie"]
	_, header := r.ranges[path+".header"]
	_, ttl := r.ranges[path+".ttl"]
	switch {
	case !cookie && !header:
		r.addf(b.DefRange, path+".cookie", "required: cookie, the name of a cookie for browsers, or header, the name of a header that tells users of an API apart, or both")
	case ttl && !cookie:
		r.addf(r.ranges[path+".ttl"], path+".ttl", "ttl is the life of the cookie, and there is none; set cookie, or remove ttl")
	case cookie && !ttl:
		k.TTL = wadi.Duration(stickyTTL)
	}
}

// checkSticky checks the sticky block with the rest of the service.
func (r *reader) checkSticky(s *wadi.Service, report func(path, format string, args ...any)) {
	k := s.Sticky
	if k == nil || k.Cookie == "" {
		return
	}
	if s.Visibility == wadi.MeshOnly && r.good("visibility") {
		report("sticky.cookie", "the gateway keeps the cookie, and has no route to a service of visibility \"mesh\"; use header, or set visibility = \"public\" (visibility is set %s)", r.origin("visibility"))
	}
	if s.Protocol == wadi.GRPC && r.good("protocol") {
		report("sticky.cookie", "callers of gRPC keep no cookies; use header (protocol is set %s)", r.origin("protocol"))
	}
	if s.Rollout != nil && s.Rollout.Duration > k.TTL && r.good("sticky.ttl", "rollout.duration") {
		report("sticky.ttl", "%s is less than rollout.duration (%s, set %s): a user would be drawn anew in the middle of a rollout, and might go back; make ttl longer", k.TTL.Short(), s.Rollout.Duration.Short(), r.origin("rollout.duration"))
	}
}

// mirror reads which requests are copied, and to which tag.
func (r *reader) mirror(b *hcl.Block, path string, s *wadi.Service) {
	var m wadi.Mirror
	methods := stringList(&m.Methods, 16, checkMethod)
	r.body(b.Body, path, []setting{
		{"tag", text(&m.Tag, func(tag string) error { return checkTag(tag, s.Name) })},
		{"percent", hundredths(&m.Percent)},
		{"methods", func(v cty.Value) error {
			err := methods(v)
			if err == nil && len(m.Methods) == 0 {
				return errors.New("at least one is required; without methods it is GET, HEAD and OPTIONS, and percent = 0 copies nothing")
			}
			return err
		}},
	}, nil)
	r.require(b, path, "tag", "the tag of the traffic target that gets the copies")
	r.require(b, path, "percent", "how many of the requests are copied")
	s.Mirror = &m
}

// checkMirror checks the mirror block with the rest of the service. Without traffic blocks
// admission checks the tag.
func (r *reader) checkMirror(s *wadi.Service, report func(path, format string, args ...any)) {
	m := s.Mirror
	if m == nil {
		return
	}
	if s.Visibility == wadi.MeshOnly && r.good("visibility") {
		report("mirror", "the gateway copies requests, and has no route to a service of visibility \"mesh\"; remove it, or set visibility = \"public\" (visibility is set %s)", r.origin("visibility"))
	}
	if s.Protocol == wadi.GRPC && !slices.Contains(m.Methods, http.MethodPost) && r.good("protocol", "mirror.methods") {
		report("mirror", "calls of gRPC are POST requests, and are copied only if methods says so: set methods = [\"POST\"] if the app can stand each call twice (protocol is set %s)", r.origin("protocol"))
	}
	if len(s.Traffic) > 0 && m.Tag != "" && r.goodTags(s) {
		if why := MirrorProblem(*s); why != "" {
			report("mirror.tag", "%s", why)
		}
	}
}

// goodTags reports whether no tag of the service was refused.
func (r *reader) goodTags(s *wadi.Service) bool {
	for i := range s.Traffic {
		if !r.good(TrafficPath(i) + ".tag") {
			return false
		}
	}
	return true
}

// MirrorProblem says why the service's mirror can't be, with the service's traffic; empty: it
// can, or there is none.
func MirrorProblem(s wadi.Service) string {
	if s.Mirror == nil {
		return ""
	}
	var tags []string
	for _, t := range s.Traffic {
		if t.Tag == s.Mirror.Tag {
			return ""
		}
		if t.Tag != "" {
			tags = append(tags, t.Tag)
		}
	}
	there := "there is none"
	if len(tags) > 0 {
		there = "there are: " + strings.Join(tags, ", ")
	}
	return fmt.Sprintf("no traffic target has the tag %q (%s); give it to one, or remove the mirror block from the service's file", s.Mirror.Tag, there)
}

// checkFieldName accepts the name of a header or cookie.
func checkFieldName(s string) error {
	switch {
	case len(s) > maxFieldName:
		return fmt.Errorf("%.20q… has %d characters, at most %d are allowed", s, len(s), maxFieldName)
	case !fieldName.MatchString(s):
		return fmt.Errorf("%q can't be a name in HTTP; use letters, digits and hyphens", s)
	}
	return nil
}

func checkCookie(s string) error {
	if err := checkFieldName(s); err != nil {
		return err
	}
	if l := strings.ToLower(s); strings.HasPrefix(l, "__host-") || strings.HasPrefix(l, "__secure-") {
		return fmt.Errorf("browsers keep a cookie %q over HTTPS only; use another name", s)
	}
	return nil
}

// checkStickyHeader accepts a header that says something about the user.
func checkStickyHeader(s string) error {
	if err := checkFieldName(s); err != nil {
		return err
	}
	switch l := strings.ToLower(s); {
	case l == "cookie":
		return errors.New("\"Cookie\" has all of a browser's cookies; name one with cookie = …")
	case strings.HasPrefix(l, "wadi-"):
		return fmt.Errorf("%q is one of Wadi's own headers; use one that tells users apart", s)
	case slices.Contains([]string{"host", "connection", "keep-alive", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect", "proxy-connection"}, l):
		return fmt.Errorf("%q is about the connection, not the user; use a header that tells users apart", s)
	}
	return nil
}

// checkMethod accepts a method whose requests can be copied.
func checkMethod(s string) error {
	switch {
	case len(s) > maxFieldName || !fieldName.MatchString(s) || s != strings.ToUpper(s):
		return fmt.Errorf("%.70q is no method; write it in capitals, such as \"POST\"", s)
	case s == http.MethodConnect || s == http.MethodTrace:
		return fmt.Errorf("%q is never copied; remove it", s)
	}
	return nil
}
