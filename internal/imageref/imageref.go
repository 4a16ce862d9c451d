// Package imageref reads the names of images as Docker and podman do: nginx is
// docker.io/library/nginx:latest.
//
// It is pure. It promises that two programs that use it mean the same image by a name. It
// refuses names of what is no registry's: files, directories and IDs of a node.
package imageref

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// ErrLocal is wrapped by the errors about names of what is on a node, and at no registry.
var ErrLocal = errors.New("it is not at a registry")

// errUnreadable has no detail: the parser's says nothing more, and quotes the name.
var errUnreadable = errors.New("it can't be read")

// maxName bounds a name, in bytes: a path of 255, a registry, a tag and a digest.
const maxName = 1024

// Image is an image's name in its long form. It has a tag or a digest, or both; Docker pulls by the
// digest alone then.
type Image struct {
	Name   string // Registry and path: docker.io/library/nginx.
	Tag    string
	Digest string // "sha256:…"
}

// Parse reads an image's name. An error that says that it names nothing of a registry is an
// [ErrLocal].
func Parse(text string) (Image, error) {
	if len(text) > maxName {
		return Image{}, errUnreadable
	}
	name := strings.TrimPrefix(strings.TrimPrefix(text, "docker://"), "https://") // As podman, and Nomad's driver of Docker.
	if strings.HasPrefix(name, "sha256:") || strings.HasPrefix(name, "sha512:") {
		return Image{}, local("it is the ID of whatever a node has") // And reads like a tag of an image named sha256.
	}
	if transport, _, ok := strings.Cut(name, ":"); ok && slices.Contains(transports(), transport) {
		return Image{}, local("it is a file or directory of the node") // And reads like a tag of an image of that name.
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return Image{}, errUnreadable
	}
	out := Image{Name: ref.Name()}
	if t, ok := ref.(reference.Tagged); ok {
		out.Tag = t.Tag()
	}
	if d, ok := ref.(reference.Digested); ok {
		out.Digest = d.Digest().String()
	}
	if out.Tag == "" && out.Digest == "" {
		out.Tag = "latest"
	}
	return out, nil
}

// transports are the prefixes by which podman reads an image elsewhere than at a registry.
func transports() []string {
	return []string{"oci-archive", "docker-archive", "containers-storage", "docker-daemon", "dir", "oci", "sif", "ostree", "tarball"}
}

// localError is an ErrLocal in words of its own.
type localError string

func local(text string) error { return localError(text) }

func (e localError) Error() string { return string(e) }

func (e localError) Is(target error) bool { return target == ErrLocal }

// String is the whole name.
func (i Image) String() string {
	s := i.Name
	if i.Tag != "" {
		s += ":" + i.Tag
	}
	if i.Digest != "" {
		s += "@" + i.Digest
	}
	return s
}

// Registry is the host of the image's registry, with its port if the name has one. That of
// Docker Hub is docker.io.
func (i Image) Registry() string {
	host, _, _ := strings.Cut(i.Name, "/")
	return host
}

// Path is the image's name at its registry.
func (i Image) Path() string {
	_, path, _ := strings.Cut(i.Name, "/")
	return path
}

// At is the name of the same image by a digest. It has no tag: every driver reads it.
func (i Image) At(digest string) string { return fmt.Sprintf("%s@%s", i.Name, digest) }
