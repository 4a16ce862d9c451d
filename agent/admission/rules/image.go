package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
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

// image is a task's image in its long form. It has a tag or a digest.
type image struct{ name, tag, digest string }

func (i image) String() string {
	s := i.name
	if i.tag != "" {
		s += ":" + i.tag
	}
	if i.digest != "" {
		s += "@" + i.digest
	}
	return s
}

// transports are the prefixes by which podman reads an image elsewhere than at a registry.
func transports() []string {
	return []string{"oci-archive", "docker-archive", "containers-storage", "docker-daemon", "dir", "oci", "sif", "ostree", "tarball"}
}

// parse reads an image as Docker does: nginx is docker.io/library/nginx:latest. The tag of
// an image with a digest is dropped, as Docker pulls by the digest alone.
func parse(name string) (image, error) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker://"), "https://") // As podman, and Nomad's driver of Docker.
	if strings.HasPrefix(name, "sha256:") || strings.HasPrefix(name, "sha512:") {
		return image{}, errors.New("it is the ID of whatever a node has") // And reads like a tag of an image named sha256.
	}
	if transport, _, ok := strings.Cut(name, ":"); ok && slices.Contains(transports(), transport) {
		return image{}, errors.New("it is a file or directory of the node") // And reads like a tag of an image of that name.
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return image{}, errors.New("it can't be read")
	}
	out := image{name: ref.Name(), tag: "latest"}
	if t, ok := ref.(reference.Tagged); ok {
		out.tag = t.Tag()
	}
	if d, ok := ref.(reference.Digested); ok {
		out.tag, out.digest = "", d.Digest().String()
	}
	return out, nil
}

// matches reports whether an image is one of the pattern's. What the pattern does not name
// may be anything.
func (i Image) matches(ref image) bool {
	for _, c := range []struct {
		want *regexp.Regexp
		got  string
	}{{i.name, ref.name}, {i.tag, ref.tag}, {i.digest, ref.digest}} {
		if c.want != nil && (c.got == "" || !c.want.MatchString(c.got)) {
			return false
		}
	}
	return true
}
