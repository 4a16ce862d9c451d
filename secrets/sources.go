package secrets

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sources are where the variables of a task get their values, and what a login refers to.
type sources struct {
	task  *node
	meta  []*node // Of the job, the group and the task.
	names []string
}

// maxReferred bounds the variables that logins refer to, directly or not.
const maxReferred = 32

var variable = regexp.MustCompile(`\$\{(?:env\[")?([A-Za-z_][A-Za-z0-9_.-]*)(?:"\])?\}`)

// refer notes the variables in a text.
func (s *sources) refer(text string) {
	for _, m := range variable.FindAllStringSubmatch(text, maxReferred) {
		if !slices.Contains(s.names, m[1]) && len(s.names) < maxReferred {
			s.names = append(s.names, m[1])
		}
	}
}

// referred finds the literal values of the variables that logins refer to: a password is one
// under any name.
func (f *finder) referred(s *sources, path string) {
	const message = "the auth block takes a registry's password from here, where it " + refused + insteadOfLogin
	add := func(n *node, at string, spans []span) {
		spans = slices.DeleteFunc(spans, func(v span) bool { return isReference(n.text[v.from:v.to]) })
		f.add(n, at, true, spans, message)
	}
	for i := 0; i < len(s.names); i++ { // It grows.
		name := s.names[i]
		for _, e := range s.task.entries("Env") {
			if e.key == name && !e.composed {
				s.refer(e.text)
				add(e, join(path, "env."+name), whole(e.text))
			}
		}
		for j, t := range s.task.elements("Templates") {
			if t.value("Envvars") != "true" {
				continue
			}
			for _, n := range t.all("EmbeddedTmpl") {
				for _, a := range assignments(n.text, t.value("LeftDelim")) {
					if a.name == name {
						add(n, path+".template["+strconv.Itoa(j)+"].data", []span{a.value})
					}
				}
			}
		}
		if key, ok := strings.CutPrefix(name, "NOMAD_META_"); ok {
			s.referMeta(key, path, add)
		}
	}
}

// referMeta is for a variable that Nomad makes of the meta block.
func (s *sources) referMeta(key, path string, add func(*node, string, []span)) {
	for _, m := range s.meta {
		for _, e := range m.parts {
			if !e.composed && strings.EqualFold(metaName.ReplaceAllString(e.key, "_"), key) {
				add(e, join(path, "meta."+e.key), whole(e.text))
			}
		}
	}
}

var metaName = regexp.MustCompile(`[^A-Za-z0-9_]`)

// assigned is a line NAME=value of a template of variables.
type assigned struct {
	name  string
	value span
}

// assignments are the lines of a template whose value is a literal.
func assignments(text, left string) (all []assigned) {
	if left == "" {
		left = "{{"
	}
	for _, m := range assignment.FindAllStringSubmatchIndex(text, -1) {
		v := span{m[4], m[5]}
		value := strings.TrimSpace(text[v.from:v.to])
		if value == "" || strings.Contains(value, left) && !constantAction.MatchString(value) {
			continue
		}
		all = append(all, assigned{text[m[2]:m[3]], v})
	}
	return all
}

// constantAction is an action that prints a text, in the usual delimiters.
var constantAction = regexp.MustCompile("^\\{\\{-?\\s*(?:\"[^\"]*\"|`[^`]*`)\\s*-?\\}\\}$")
