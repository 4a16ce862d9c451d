// Package secrets finds what in a Nomad task group is certainly or likely a secret, and makes
// jobs, services, differences and texts that do not show it.
//
// It promises that a finding never holds the secret in its path or message, that everything
// outside of the strings with a secret is kept byte for byte, and that JSON which can't be
// read is hidden whole. What a secret looks like is known for the drivers' registry logins,
// artifacts, mounts, URLs and private keys; other settings are judged by their names, which
// is a guess and never more than a warning. It refuses to find a secret that somebody hides
// on purpose, and it is pure.
package secrets

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"

	"github.com/wadi-run/wadi"
)

// Hidden stands in the place of a secret. What is submitted may not contain it.
const Hidden = "(hidden-by-wadi)"

// Finding is a setting with a secret.
type Finding struct {
	Path    string // Of the setting, for instance task.web.config.auth.password.
	Certain bool   // Else it is a guess by the setting's name or form.
	Message string // What is wrong, and what to do.

	at    *node
	spans []span // Of the secrets in the node's text.
}

// values are the secrets themselves.
func (f Finding) values() (all []string) {
	for _, s := range f.spans {
		all = append(all, f.at.text[s.from:s.to])
	}
	return all
}

// span is a part of a text, in bytes.
type span struct{ from, to int }

func whole(text string) []span { return []span{{0, len(text)}} }

// In finds the secrets of a Nomad job or task group in JSON. Path is the group's own, such
// as "instance". The result is nil if the JSON can't be read.
func In(data json.RawMessage, path string) []Finding {
	root, err := parse(data)
	if err != nil {
		return nil
	}
	f := newFinder()
	f.top(root, path)
	return f.found
}

// Of finds the secrets of a service: in its instance, whose path is "instance", and in its other
// settings, such as meta.
func Of(s wadi.Service) []Finding {
	instance := s.Instance
	s.Instance = nil
	settings, err := json.Marshal(s)
	if err != nil {
		settings = nil // A service always marshals.
	}
	return append(In(settings, ""), In(instance, "instance")...)
}

// InTask finds the secrets of a Nomad task in JSON.
func InTask(data json.RawMessage, path string) []Finding {
	root, err := parse(data)
	if err != nil {
		return nil
	}
	f := newFinder()
	f.task(root, path, nil)
	return f.found
}

// Certain are the findings that are no guess.
func Certain(all []Finding) (certain []Finding) {
	for _, f := range all {
		if f.Certain {
			certain = append(certain, f)
		}
	}
	return certain
}

// First are at most most findings, the certain ones before all guesses.
func First(all []Finding, most int) []Finding {
	slices.SortStableFunc(all, func(a, b Finding) int {
		switch {
		case a.Certain == b.Certain:
			return 0
		case a.Certain:
			return -1
		}
		return 1
	})
	return all[:min(len(all), most)]
}

// maxWarnings bounds the warnings about one service.
const maxWarnings = 20

// Warnings say what of a stored service is a secret. What is certainly one was stored by an
// earlier Wadi.
func Warnings(s wadi.Service) (all []string) {
	for _, f := range First(Of(s), maxWarnings) {
		all = append(all, f.Path+": "+f.Message)
	}
	return all
}

// Variables are the names of given variables that are likely secrets, in order. It leaves
// out those whose value is found in the services, where there is a warning about it.
func Variables(given map[string]string, in ...wadi.Service) (names []string) {
	found := map[string]bool{}
	for _, s := range in {
		for _, f := range Of(s) {
			for _, v := range f.values() {
				found[v] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if isLikelySecret(name, given[name]) && !found[given[name]] {
			names = append(names, name)
		}
	}
	return names
}

// reference is what Nomad replaces when it starts a task. An expression with a literal, such
// as ${"text"}, is none.
var reference = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_./-]*(?:\["[A-Za-z0-9_./-]+"\])?\}`)

// isReference reports whether a text has nothing but references; an empty one has nothing.
func isReference(text string) bool { return reference.ReplaceAllString(text, "") == "" }
