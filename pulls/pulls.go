// Package pulls tells why an image could not be had from what Nomad's drivers and their
// engines say. It knows the texts of Docker's engine, as they were collected from it, and
// of Podman's. It is pure: it asks nobody, and decides nothing.
package pulls

import (
	"strings"

	"github.com/wadi-run/wadi"
)

// beginnings are how drivers begin the message that an image could not be had: the docker
// driver's are "Failed to pull `IMAGE`: …" and the like.
var beginnings = []string{
	"failed to pull `", "unable to pull docker image", "unable to create local docker image", "failed to find docker auth for repo",
	"invalid image reference", "unable to pull image ", "failed to load image",
}

// engineAway are what a driver says when its engine does not answer, whatever it was asked.
var engineAway = []string{"cannot connect to the docker daemon", "failed to fetch docker daemon info", "failed to create docker client", "podman.sock: connect:"}

// notFormat is what Linux says of a program that is not for its processor. It is about an
// image only if an engine starts a container of it: programs of other drivers have none.
const notFormat = "exec format error"

var startsContainer = []string{"failed to start container", "failed to create container", "could not start container", "could not create container"}

// wrongArchitecture are what engines say of an image that is not for their processor.
var wrongArchitecture = []string{"no matching manifest for", "no image found in image index for architecture", "no image found in manifest list for architecture"}

// notListening are what engines say where no registry is. An image whose name begins with
// "localhost/" was built or loaded on a machine: a person who runs a registry names its port.
var notListening = []string{"connection refused", "no such host"}

// causes are looked for in this order: a message may have parts of several. Some texts have
// what is wrong with the registry around what it said.
var causes = []struct {
	kind  wadi.PullFailure
	texts []string
}{
	{wadi.PullDiskFull, []string{"no space left on device", "disk quota exceeded"}},
	{wadi.PullTooMany, []string{"toomanyrequests", "too many requests", "http 429", "status: 429", "status 429"}},
	{wadi.PullInvalid, []string{"invalid reference format", "does not match registry specification", "invalid image reference"}},
	{wadi.PullTimeout, []string{"client.timeout", "context deadline exceeded", "i/o timeout", "tls handshake timeout", "context canceled", "timeout awaiting"}},
	{wadi.PullTLS, []string{"x509:", "server gave http response to https client", "tls:", "first record does not look like a tls handshake"}},
	{wadi.PullAway, []string{
		"no such host", "connection refused", "connection reset", "no route to host", "network is unreachable", "server misbehaving",
		"temporary failure in name resolution", "unexpected http status: 5", "http 5", "unexpected eof", ": eof", "broken pipe",
		"error unmarshalling content", "invalid character '<'",
	}},
	{wadi.PullCorrupt, []string{"layer verification failed", "unknown blob", "digest did not match", "does not match digest", "blob unknown", "failed to register layer", "invalid tar header", "unexpected commit digest"}},
	{wadi.PullNoTag, []string{"manifest unknown", "unknown manifest", "manifest for "}},
	{wadi.PullUnauthorised, []string{
		"pull access denied", "may require 'docker login'", "unauthorized", "denied", "authentication required", "no basic auth credentials",
		"http 401", "http 403", "failed to find docker auth", "incorrect username or password",
	}},
	{wadi.PullNoImage, []string{"name unknown", "unknown name", "repository name not known", "not found", "no such image"}},
}

// Classify is why the image that a driver's message is about could not be had; empty if
// the message is about something else.
func Classify(message string) wadi.PullFailure {
	text := strings.ToLower(message)
	switch {
	case containsAny(text, wrongArchitecture), strings.Contains(text, notFormat) && containsAny(text, startsContainer):
		return wadi.PullArchitecture
	case containsAny(text, engineAway):
		return wadi.PullEngineAway
	case !containsAny(text, beginnings):
		return ""
	}
	local := strings.Contains(text, "`localhost/") || strings.Contains(text, "unable to pull image localhost/")
	text = withoutImage(text)
	if local && containsAny(text, notListening) {
		return wadi.PullNotLoaded
	}
	for _, c := range causes {
		if containsAny(text, c.texts) {
			return c.kind
		}
	}
	return wadi.PullOther
}

// withoutImage drops the image's name, which may be anything: where the driver has it,
// between backquotes, and where the engine repeats it.
func withoutImage(text string) string {
	before, rest, _ := strings.Cut(text, "`")
	name, after, ok := strings.Cut(rest, "`")
	if !ok {
		return text
	}
	repository, _, _ := strings.Cut(name, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository = repository[:i]
	}
	after = strings.ReplaceAll(after, " "+name+" ", " ")
	for _, end := range []string{" ", ":", "@"} {
		after = strings.ReplaceAll(after, " "+repository+end, " "+end)
	}
	return before + after
}

func containsAny(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
