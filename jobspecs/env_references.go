package jobspecs

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/hashicorp/nomad/api"
)

// Nomad resolves references to a task's environment in the order of a Go map, which
// differs from start to start: an env value that refers to another variable of the same
// task gets its value or stays "${PORT}", by chance. So Wadi's variables are replaced by
// their values when the job is rendered. The port in a host network, which only Nomad
// knows, is replaced by a NOMAD_ variable, which Nomad always resolves first.

// reference is the syntax of a reference to a variable; Nomad has no escape for it.
var reference = regexp.MustCompile(`\$\{([a-zA-Z0-9_]+)\}`)

// given are the variables that Wadi adds to the user's tasks. Only the serving task has
// PORT in its environment.
func (r *renderer) given() map[string]string {
	return map[string]string{
		"PORT":          r.appPort(),
		"WADI_SERVICE":  r.rev.Service,
		"WADI_REVISION": r.rev.ID,
		// For images made for Knative or Cloud Run.
		"K_SERVICE": r.rev.Service, "K_REVISION": r.rev.ID, "K_CONFIGURATION": r.rev.Service,
	}
}

// resolve replaces references by values everywhere in v where Nomad would, and returns v.
func resolve(v any, values map[string]string) any {
	switch v := v.(type) {
	case string:
		return reference.ReplaceAllStringFunc(v, func(ref string) string {
			if value, ok := values[ref[2:len(ref)-1]]; ok {
				return value
			}
			return ref
		})
	case []any:
		for i, e := range v {
			v[i] = resolve(e, values)
		}
	case object:
		for k, e := range v {
			if k == "EmbeddedTmpl" {
				v[k] = resolveTemplate(v, e, values)
				continue
			}
			v[k] = resolve(e, values)
		}
	}
	return v
}

// resolveTemplate leaves a template's text unchanged, as Nomad does: a shell script may
// mean its own ${PORT}. Only in a template of environment variables a reference has no
// other meaning. There the template's own function looks up Nomad's variables, because
// Nomad resolves nothing in the result.
func resolveTemplate(template object, text any, values map[string]string) any {
	if template["Envvars"] != true {
		return text
	}
	return resolve(text, inTemplate(values, template))
}

// inTemplate is values in the template's language.
func inTemplate(values map[string]string, template object) map[string]string {
	left, right := "{{", "}}"
	if s, ok := template["LeftDelim"].(string); ok && s != "" {
		left = s
	}
	if s, ok := template["RightDelim"].(string); ok && s != "" {
		right = s
	}
	written := maps.Clone(values)
	for k, v := range values {
		if m := reference.FindStringSubmatch(v); m != nil {
			written[k] = fmt.Sprintf("%s env %q %s", left, m[1], right)
		}
	}
	return written
}

// unstableReferences lists the variables in a task's env that refer to others in it, and
// the referred ones: Nomad resolves such a reference at some starts only.
func unstableReferences(t *api.Task) (names []string, refers map[string]string) {
	refers = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		for _, m := range reference.FindAllStringSubmatch(t.Env[name], -1) {
			if _, own := t.Env[m[1]]; own {
				names, refers[name] = append(names, name), m[1]
				break
			}
		}
	}
	return names, refers
}
