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
func Redact(data json.RawMessage) json.RawMessage { return redact(data, false) }

// redact hides certain secrets, and guesses in all tasks or in those of Wadi.
func redact(data json.RawMessage, guesses bool) json.RawMessage {
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
		return !found.Certain && !guesses && !slices.ContainsFunc(own, func(t span) bool {
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
func Service(s wadi.Service) wadi.Service { return service(s, false) }

// Planned is s without certain and likely secrets, for a plan.
func Planned(s wadi.Service) wadi.Service { return service(s, true) }

func service(s wadi.Service, guesses bool) wadi.Service {
	instance := redact(s.Instance, guesses)
	s.Instance = nil
	settings, err := json.Marshal(s)
	if err != nil {
		settings = nil // A service always marshals.
	}
	if shown := redact(settings, guesses); !bytes.Equal(shown, settings) {
		var hidden wadi.Service
		if json.Unmarshal(shown, &hidden) != nil { // A setting that is no text would be a secret.
			hidden = wadi.Service{Name: s.Name, Namespace: s.Namespace}
		}
		s = hidden
	}
	s.Instance = instance
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
	certain := Certain(Of(s.Service))
	if len(certain) == 0 {
		return s
	}
	s.Service = Service(s.Service)
	var values []string
	for _, f := range certain {
		for _, v := range f.values() {
			if v != Hidden {
				values = append(values, v)
			}
		}
	}
	return without(s, values)
}

// without cuts secrets out of a spec's source and variables. If one is in neither, or too
// short to be told from other text, both are hidden whole.
func without(s wadi.Spec, values []string) wadi.Spec {
	given := s.Variables
	s.Variables = maps.Clone(given)
	var spans []span
	for _, value := range values {
		found := every(s.Source, value)
		if escaped := escape.Replace(value); escaped != value {
			found = append(found, every(s.Source, escaped)...)
		}
		spans = append(spans, found...)
		variable := false
		for name, v := range given {
			if strings.Contains(v, value) {
				s.Variables[name], variable = Hidden, true
			}
		}
		if len(value) < shortest || len(found) == 0 && !variable {
			for name := range s.Variables {
				s.Variables[name] = Hidden
			}
			s.Source = notShown
			return s
		}
	}
	s.Source = hide(s.Source, merge(spans))
	return s
}

// escape writes a text as it stands between quotes in HCL.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{")
