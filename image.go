package wadi

import (
	"fmt"
	"strings"
)

// ResolveImages says whether the tags of a service's images are replaced by digests when
// it is submitted.
type ResolveImages string

// The ways to treat tags.
const (
	ResolveRequire ResolveImages = "require" // A tag without a digest is refused.
	ResolveTry     ResolveImages = "try"     // A tag without a digest stays, with a warning.
	ResolveOff     ResolveImages = "off"     // No registry is asked.
)

// Image is the image of one task of a revision.
type Image struct {
	Task    string `json:"task"`
	Name    string `json:"name"`              // As submitted, for instance example/web:1.4.
	Digest  string `json:"digest,omitempty"`  // "sha256:…", what the revision runs; empty: whatever the tag means at each start.
	Warning string `json:"warning,omitempty"` // Why there is no digest, or why it is an earlier one.
}

// Resolved reports whether the digest is not a part of the name: a registry gave it.
func (i Image) Resolved() bool { return i.Digest != "" && !strings.Contains(i.Name, "@") }

// Reference is the image as the task's driver gets it. Docker ignores a tag beside a
// digest; Podman refuses it.
func (i Image) Reference(driver string) string {
	if !i.Resolved() {
		return i.Name
	}
	name := i.Name
	if driver != DriverDocker {
		if at := strings.LastIndexByte(name, ':'); at > strings.LastIndexByte(name, '/') {
			name = name[:at]
		}
	}
	return name + "@" + i.Digest
}

// String is the image for people, with a short digest.
func (i Image) String() string {
	if !i.Resolved() {
		return i.Name
	}
	return fmt.Sprintf("%s (%s)", i.Name, ShortDigest(i.Digest))
}

// The drivers whose images Wadi knows.
const (
	DriverDocker = "docker"
	DriverPodman = "podman"
)

// ShortDigest is a digest for people: its algorithm and twelve digits.
func ShortDigest(digest string) string {
	const digits = 12
	if at := strings.IndexByte(digest, ':'); at >= 0 && len(digest) > at+1+digits {
		return digest[:at+1+digits]
	}
	return digest
}

// MovedImage is an image of the same name with another digest than in the revision before.
type MovedImage struct {
	Task   string `json:"task"`
	Name   string `json:"name"`
	Before string `json:"before,omitempty"` // Empty: there was none.
	After  string `json:"after,omitempty"`  // Empty: there is none now.
}

// String says what became of the image.
func (m MovedImage) String() string {
	head := "image " + m.Task + ": " + m.Name
	switch {
	case m.Before == "":
		return head + " is " + ShortDigest(m.After) + " now, and was not resolved before"
	case m.After == "":
		return head + " is not resolved any more, and was " + ShortDigest(m.Before)
	}
	return head + " moved from " + ShortDigest(m.Before) + " to " + ShortDigest(m.After)
}
