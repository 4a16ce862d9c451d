package rules

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/wadi-run/wadi/internal/imageref"
)

// Image is a pattern of images. Make it with ParseImage.
type Image struct {
	pattern           string
	name, tag, digest *regexp.Regexp // Nil: any, and none.
}

// maxPattern bounds a pattern, in bytes.
const maxPattern = 300

// ParseImage reads a pattern such as "ghcr.io/acme/**", "docker.io/library/nginx:1.*" or
// "ghcr.io/acme/*@sha256:*". It has a registry and a path, and may have a tag or a digest,
// which images need then. A * stands for anything but a slash, a ** for slashes too.
func ParseImage(pattern string) (Image, error) {
	p := Image{pattern: pattern}
	if len(pattern) > maxPattern || strings.ContainsAny(pattern, " \t\n$?[]{}") {
		return p, fmt.Errorf("%.50q is no pattern of images; use letters, digits, *, and at most %d characters", pattern, maxPattern)
	}
	name, digest, hasDigest := strings.Cut(pattern, "@")
	tag := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
		p.tag = compile(tag)
	}
	if hasDigest {
		p.digest = compile(digest)
	}
	registry, path, _ := strings.Cut(name, "/")
	switch {
	case name == "**":
	case !strings.ContainsAny(registry, ".:*") && registry != "localhost" || path == "":
		return p, fmt.Errorf("%q lacks the registry: write for instance docker.io/library/nginx, ghcr.io/acme/** or **", pattern)
	case p.tag != nil && tag == "" || hasDigest && digest == "":
		return p, fmt.Errorf("%q has an empty tag or digest", pattern)
	case p.tag != nil && hasDigest:
		return p, fmt.Errorf("%q has a tag and a digest: where an image has a digest its tag means nothing; leave out one of them", pattern)
	}
	p.name = compile(name)
	return p, nil
}

// String is the pattern.
func (i Image) String() string { return i.pattern }

// compile makes a pattern of one part.
func compile(part string) *regexp.Regexp {
	var out strings.Builder
	for i, piece := range strings.Split(part, "**") {
		if i > 0 {
			out.WriteString(".*")
		}
		out.WriteString(strings.ReplaceAll(regexp.QuoteMeta(piece), `\*`, "[^/]*"))
	}
	return regexp.MustCompile("^" + out.String() + "$") // All but the two stars is quoted.
}

// matches reports whether an image is one of the pattern's. What the pattern does not name
// may be anything.
func (i Image) matches(ref imageref.Image) bool {
	for _, c := range []struct {
		want *regexp.Regexp
		got  string
	}{{i.name, ref.Name}, {i.tag, ref.Tag}, {i.digest, ref.Digest}} {
		if c.want != nil && (c.got == "" || !c.want.MatchString(c.got)) {
			return false
		}
	}
	return true
}
