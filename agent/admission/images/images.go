// Package images decides which images of a submission a registry is asked about, and which
// digests the submission's revisions have then.
//
// It is pure. It promises that an image that is named by a digest stays as it is; that a tag
// becomes a digest only by its registry's answer, or by the one that the revision before has
// for the same name; and that every image without a digest says why. It refuses to ask.
package images

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/imageref"
	"github.com/wadi-run/wadi/jobspecs"
)

// Task is the image of one task, and what is known of it without its registry.
type Task struct {
	jobspecs.TaskImage
	Ask string // The image to ask about, in its long form; empty: no registry can say more.
	Why string // Why it has no digest, and what to do; empty: it has, or its registry is asked.

	// Local: the name says that the image is the node's own, so its Why is no news.
	Local bool
}

// Classify says which registry is to be asked about a task's image.
func Classify(i jobspecs.TaskImage) Task {
	t := Task{TaskImage: i}
	if strings.Contains(i.Name, "${") {
		t.Why = "Nomad knows it only when the task starts; write the image itself"
		return t
	}
	if i.Driver != wadi.DriverDocker && i.Driver != wadi.DriverPodman {
		if !strings.Contains(i.Name, "@sha256:") {
			t.Why = fmt.Sprintf("Wadi does not know how the driver %.50q reads images; name it by a digest, if the driver can", i.Driver)
		}
		return t
	}
	if i.Loaded {
		t.Why = "it is loaded from a file (load); push it to a registry, or set resolve_images = \"off\""
		return t
	}
	ref, err := imageref.Parse(i.Name)
	switch {
	case errors.Is(err, imageref.ErrLocal) && isID(i.Name): // An ID never means another image.
	case errors.Is(err, imageref.ErrLocal):
		t.Why = err.Error() + "; push it to a registry, or set resolve_images = \"off\""
	case err != nil:
		t.Why = "it can't be read as an image's name"
	case ref.Digest != "":
	case ref.Registry() == "localhost": // So do Podman and Buildah name what is built and not pushed.
		t.Why, t.Local = "names below localhost/ are of images that the node has; push it to a registry, or set resolve_images = \"off\"", true
	case i.Own && !namesRegistry(i.Name):
		// An image that was built on the nodes must not become one of that name at Docker Hub.
		t.Why = "its name has no registry, so it may be one that the nodes have; name its registry or digest in the agent's configuration"
	case i.Driver == wadi.DriverPodman && !namesRegistry(i.Name):
		t.Why = "Podman takes the registry of a short name from each node's registries.conf; write the registry too"
	default:
		t.Ask = ref.String()
	}
	return t
}

// isID reports whether a name is the ID of an image: the digest of what it consists of.
func isID(name string) bool { return strings.HasPrefix(name, "sha256:") }

// namesRegistry reports whether a name begins with a registry.
func namesRegistry(name string) bool {
	if _, rest, ok := strings.Cut(name, "://"); ok {
		name = rest
	}
	host, _, ok := strings.Cut(name, "/")
	return ok && (strings.ContainsAny(host, ".:") || host == "localhost")
}

// Answer is what a registry said about an image.
type Answer struct {
	Digest string
	Err    error // Its text is for people; nil: there is a digest.
}

// Bounds, in characters. A longer name can't be resolved.
const (
	maxName    = 1024
	maxWarning = 700
)

// Decide returns the images of a revision. before are those of the newest revision, answers
// the registries' by [Task.Ask].
func Decide(mode wadi.ResolveImages, tasks []Task, answers map[string]Answer, before []wadi.Image) []wadi.Image {
	var all []wadi.Image
	for _, t := range tasks {
		i := wadi.Image{Task: t.Task, Name: wadi.OneLine(t.Name, maxName)}
		if _, digest, ok := strings.Cut(t.Name, "@"); ok && !strings.Contains(digest, "${") {
			i.Digest = digest
		}
		answer, asked := answers[t.Ask]
		switch {
		case mode == wadi.ResolveOff, t.Local && mode != wadi.ResolveRequire:
		case t.Why != "":
			i.Warning = t.Why
		case t.Ask == "" || !asked:
		case answer.Err == nil:
			i.Digest = answer.Digest
		default:
			i.Digest = earlier(i.Name, before)
			i.Warning = failure(t, answer.Err, i.Digest)
		}
		i.Warning = wadi.OneLine(i.Warning, maxWarning)
		all = append(all, i)
	}
	return all
}

// earlier is the digest of an image of the same name; empty: there is none.
func earlier(name string, before []wadi.Image) string {
	for _, b := range before {
		if b.Name == name && b.Resolved() {
			return b.Digest
		}
	}
	return ""
}

// failure says what became of an image without an answer.
func failure(t Task, err error, kept string) string {
	text := err.Error()
	if t.Auth {
		text += " (the task's own auth is Nomad's, and was not used: images.docker_config of the agent is)"
	}
	if kept != "" {
		return text + "; it stays at the digest of the revision before, " + wadi.ShortDigest(kept)
	}
	return text
}

// Users are the images of the user's tasks: the agent's own are not the caller's to mend.
func Users(tasks []Task, all []wadi.Image) []wadi.Image {
	return slices.DeleteFunc(slices.Clone(all), func(i wadi.Image) bool {
		return slices.ContainsFunc(tasks, func(t Task) bool { return t.Task == i.Task && t.Own })
	})
}

// Moved are the images whose names are as before, and whose digests are not.
func Moved(before, after []wadi.Image) []wadi.MovedImage {
	var all []wadi.MovedImage
	for _, a := range after {
		i := slices.IndexFunc(before, func(b wadi.Image) bool { return b.Task == a.Task && b.Name == a.Name })
		if i < 0 || before[i].Digest == a.Digest {
			continue
		}
		all = append(all, wadi.MovedImage{Task: a.Task, Name: a.Name, Before: before[i].Digest, After: a.Digest})
	}
	return all
}
