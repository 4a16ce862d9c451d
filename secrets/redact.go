package secrets

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// Redact is a Nomad job or group in JSON without what is certainly a secret. In the tasks of
// Wadi, which the agent's operator wrote, likely secrets are hidden too.
func Redact(data json.RawMessage) json.RawMessage {
	if len(data) == 0 {
		return data
	}
	root, err := parse(data)
	if err != nil {
		return json.RawMessage(`"` + Hidden + `"`)
	}
	f := newFinder()
	f.top(root, "")
	own := ownTasks(root)
	hidden := slices.DeleteFunc(f.found, func(found Finding) bool {
		return !found.Certain && !slices.ContainsFunc(own, func(t span) bool {
			return t.from <= found.at.place.from && found.at.place.to <= t.to
		})
	})
	if len(hidden) == 0 {
		return data
	}
	slices.SortFunc(hidden, func(a, b Finding) int { return a.at.place.from - b.at.place.from })
	var out []byte
	at := 0
	for _, h := range hidden {
		out = append(out, data[at:h.at.place.from]...)
		out = append(out, quote(hide(h.at.text, h.spans))...)
		at = h.at.place.to
	}
	return append(out, data[at:]...)
}

// ownTasks are the places of the tasks that Wadi adds to a job.
func ownTasks(root *node) (own []span) {
	groups := root.elements("TaskGroups")
	if len(groups) == 0 {
		return nil // An instance as it was submitted.
	}
	for _, g := range groups {
		for _, t := range g.elements("Tasks") {
			if name := t.value("Name"); name == wadi.TaskQueueProxy || strings.HasPrefix(name, "connect-proxy-") {
				own = append(own, t.place)
			}
		}
		for _, s := range g.elements("Services") {
			for _, c := range s.all("Connect") {
				own = append(own, c.place)
			}
		}
	}
	return own
}

// quote is a text in JSON.
func quote(text string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // A string always encodes.
	return bytes.TrimRight(b.Bytes(), "\n")
}

// Service is s without what is certainly a secret.
func Service(s wadi.Service) wadi.Service {
	s.Instance = Redact(s.Instance)
	return s
}

// Revision is r without what is certainly a secret, the proof included.
func Revision(r wadi.Revision) wadi.Revision {
	r.Spec, r.Job, r.Proof = Service(r.Spec), Redact(r.Job), ""
	return r
}

// notShown stands for a source whose secret can't be cut out, as an expression makes it.
const notShown = "# This source is not shown: it has a password, from before Wadi refused that.\n"

// Spec is s without what is certainly a secret. What is submitted now has none; a spec of an
// earlier Wadi may have one in its source and its variables too.
func Spec(s wadi.Spec) wadi.Spec {
	certain := Certain(In(s.Service.Instance, ""))
	s.Service = Service(s.Service)
	for _, f := range certain {
		for _, value := range f.values() {
			s = without(s, value)
		}
	}
	return s
}

// without cuts one secret out of a spec's source and variables. If it is in neither, or too
// short to be told from other text, both are hidden whole.
func without(s wadi.Spec, value string) wadi.Spec {
	if value == Hidden {
		return s
	}
	found := false
	variables := maps.Clone(s.Variables)
	for name, v := range variables {
		if strings.Contains(v, value) {
			variables[name], found = Hidden, true
		}
	}
	for _, written := range []string{value, escape.Replace(value)} {
		if len(value) >= 4 && strings.Contains(s.Source, written) {
			s.Source, found = strings.ReplaceAll(s.Source, written, Hidden), true
		}
	}
	s.Variables = variables
	if !found || len(value) < 4 {
		for name := range s.Variables {
			s.Variables[name] = Hidden
		}
		s.Source = notShown
	}
	return s
}

// escape writes a text as it stands between quotes in HCL.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{")
