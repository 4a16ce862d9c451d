// Package rules has admission's own rules, which an operator switches on: the keys that a
// service's meta needs, and the drivers and images that its tasks may use.
//
// It is pure. It promises to judge every task of an instance, of whatever lifecycle, and to
// refuse what it can't judge: an image that is known only when the task starts.
package rules

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/imageref"
)

// Rules are the rules in force. The zero value has none.
type Rules struct {
	Meta    []string // Keys that a service's meta needs, with values.
	Drivers []string // That tasks may use; empty: all.
	Images  []Image  // That tasks may use; empty: all.
}

// task is the part of Nomad's task that the rules are about.
type task struct {
	Name   string
	Driver string
	Config map[string]any
}

// Check returns what breaks a rule, by path of the setting. The problems have no place. images
// are those of the service's revision: the digest that a registry gave for a task's image
// counts as if the image had it, and its tag still does.
func (r Rules) Check(s wadi.Service, images []wadi.Image) []wadi.Problem {
	problems := r.meta(s)
	if len(r.Drivers) == 0 && len(r.Images) == 0 {
		return problems
	}
	var group struct{ Tasks []task }
	if err := json.Unmarshal(s.Instance, &group); err != nil {
		return append(problems, problem("instance", "its tasks can't be read: %s", err))
	}
	for _, t := range group.Tasks {
		path := "instance.task." + t.Name
		if len(r.Drivers) > 0 && !slices.Contains(r.Drivers, t.Driver) {
			problems = append(problems, problem(path+".driver", "the driver %.50q is not allowed by this cluster (admission_tasks.drivers); use %s", t.Driver, choice(r.Drivers)))
		}
		if len(r.Images) > 0 {
			problems = append(problems, r.image(t, path+".config", digestOf(t, images))...)
		}
	}
	return problems
}

func (r Rules) meta(s wadi.Service) (problems []wadi.Problem) {
	for _, key := range r.Meta {
		if strings.TrimSpace(s.Meta[key]) == "" {
			problems = append(problems, problem("meta", "this cluster requires the key %q with a value (admission_meta.require); add: meta = { %q = \"…\" }", key, key))
		}
	}
	return problems
}

// MayAllow reports whether an image is allowed, or would be with the right digest: only then
// its registry is asked.
func (r Rules) MayAllow(name string) bool {
	ref, err := imageref.Parse(name)
	return err == nil && (len(r.Images) == 0 || slices.ContainsFunc(r.Images, func(i Image) bool {
		i.digest = nil
		return i.matches(ref)
	}))
}

// digestOf is the digest that a registry gave for a task's image; empty: none did.
func digestOf(t task, images []wadi.Image) string {
	for _, i := range images {
		if i.Task == t.Name && i.Resolved() && t.Config["image"] == i.Name {
			return i.Digest
		}
	}
	return ""
}

// image judges the image of one task. Every driver with images calls it so.
func (r Rules) image(t task, path, digest string) (problems []wadi.Problem) {
	if _, ok := t.Config["load"]; ok {
		problems = append(problems, problem(path+".load", "an image of a file is not allowed by this cluster (admission_tasks.images); name one of a registry: %s", shown(r.Images)))
	}
	value, ok := t.Config["image"]
	if !ok {
		return problems // A driver without images; admission_tasks.drivers is about those.
	}
	name, ok := value.(string)
	path += ".image"
	if !ok {
		return append(problems, problem(path, "a string is required where images are restricted (admission_tasks.images)"))
	}
	if strings.Contains(name, "${") {
		return append(problems, problem(path, "%.100q is known only when the task starts, and this cluster allows some images only (admission_tasks.images); write the image itself", name))
	}
	ref, err := imageref.Parse(name)
	if ref.Digest != "" {
		ref.Tag = "" // Docker pulls by the digest alone.
	}
	switch {
	case err != nil:
		problems = append(problems, problem(path, "%.100q is no image of a registry: %s; this cluster allows %s (admission_tasks.images)", name, err, shown(r.Images)))
	case !slices.ContainsFunc(r.Images, func(i Image) bool {
		return i.matches(ref) || digest != "" && i.matches(imageref.Image{Name: ref.Name, Digest: digest})
	}):
		problems = append(problems, problem(path, "the image %s is not allowed by this cluster (admission_tasks.images); it allows %s", ref, shown(r.Images)))
	}
	return problems
}

func problem(path, format string, args ...any) wadi.Problem {
	return wadi.Problem{Path: path, Message: fmt.Sprintf(format, args...)}
}

// shownPatterns is how many patterns a message names.
const shownPatterns = 5

func shown(all []Image) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.pattern
	}
	return choice(names)
}

func choice(names []string) string {
	if more := len(names) - shownPatterns; more > 0 {
		return strings.Join(names[:shownPatterns], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}
