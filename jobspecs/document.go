package jobspecs

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// Document is a service and its instance in JSON, as an admission webhook reads and changes
// them.
type Document struct {
	Service  json.RawMessage // As the API shows it, without its instance.
	Instance json.RawMessage // The group, as Nomad's parser returned it.
}

// DocumentOf makes a service's document. Every list and map is in it, empty ones too, so
// that a JSON Patch can add to it.
func DocumentOf(s wadi.Service) (Document, error) {
	group := s.Instance
	s.Instance = nil
	o, err := asObject(s)
	if err != nil {
		return Document{}, fmt.Errorf("write service %s: %w", s.Name, err)
	}
	delete(o, "instance")
	for _, list := range []struct {
		in   object
		name string
	}{{o, "domains"}, {o, "upstreams"}, {o, "traffic"}, {o, "routes"}, {inner(o, "queue"), "quiet"}, {inner(o, "scale"), "metrics"}, {inner(o, "scale"), "schedules"}} {
		if list.in[list.name] == nil {
			list.in[list.name] = []any{}
		}
	}
	inner(o, "meta")
	data, err := json.Marshal(o)
	if err != nil {
		return Document{}, fmt.Errorf("write service %s: %w", s.Name, err)
	}
	return Document{Service: data, Instance: group}, nil
}

// Change reads a changed document in place of the service that was, with all checks of a
// service in a file. A setting that the document lacks has its built-in default. The name
// and the namespace can't change: the caller's rights were checked for them.
func (d *Draft) Change(was wadi.Service, doc Document, l Limits) (wadi.Service, []wadi.Problem) {
	o, err := toObject(doc.Service)
	if err != nil {
		return was, []wadi.Problem{d.At("", "the service is no object in JSON")}
	}
	r := &reader{limits: l.orDefault()}
	r.begin()
	s := builtin()
	s.Name = was.Name
	r.fixed(o, "name", was.Name)
	r.fixed(o, "namespace", was.Namespace)
	r.service(&document{values: r.asBlocks(o)}, &s)
	r.check(&s, hcl.Range{})
	problems := make([]wadi.Problem, 0, len(r.problems))
	for _, p := range bounded(r.problems) {
		if !p.Warning {
			problems = append(problems, d.near(p.Path, p.Message))
		}
	}
	changed := *d
	changed.Service, changed.reported = s, map[string]bool{}
	out, found := changed.completeChanged(was.Instance, doc.Instance)
	for _, p := range found {
		if !p.Warning {
			problems = append(problems, p)
		}
	}
	sortProblems(problems)
	return out, problems
}

// fixed refuses another value of a setting that can't change.
func (r *reader) fixed(o object, name, was string) {
	if o[name] != was {
		r.addf(hcl.Range{}, name, "it can't be changed here: it is %q", was)
	}
}

// asBlocks gives a service's object the blocks that it has in a file and not in a document.
func (r *reader) asBlocks(o object) object {
	delete(o, "name") // The block's label.
	for _, name := range []string{"concurrency", "instance"} {
		if _, ok := o[name]; ok {
			r.addf(hcl.Range{}, "", "there is no field %q here", name)
			delete(o, name)
		}
	}
	if limit, ok := o["concurrency_limit"]; ok {
		delete(o, "concurrency_limit")
		o["concurrency"] = object{"limit": limit}
	}
	return o
}

// completeChanged is Complete for an instance that was and is now now.
func (d *Draft) completeChanged(was, now json.RawMessage) (wadi.Service, []wadi.Problem) {
	// A group of a newer Nomad may have settings that Wadi's types lack. If it had none
	// before, unknown ones are mistakes.
	if strict(was) == nil {
		if err := strict(now); err != nil {
			return d.Service, []wadi.Problem{d.inInstance("instance", "it is no task group of Nomad's API: %s", err)}
		}
	}
	job, err := json.Marshal(map[string]any{"TaskGroups": []json.RawMessage{now}})
	if err != nil {
		return d.Service, []wadi.Problem{d.inInstance("instance", "it can't be read: %s", err)}
	}
	out, problems := d.Complete(job)
	if HasErrors(problems) {
		return out, problems
	}
	if err := exact(now); err != nil {
		problems = append(problems, d.inInstance("instance", "it is no task group of Nomad's API: %s", err))
	}
	return out, problems
}

// strict decodes a group without unknown settings.
func strict(group []byte) error {
	dec := json.NewDecoder(bytes.NewReader(group))
	dec.DisallowUnknownFields()
	return dec.Decode(&api.TaskGroup{})
}

// near makes a problem at the place of a setting, or of the nearest block around it that is
// in the file.
func (d *Draft) near(path, message string) wadi.Problem {
	for p := path; p != ""; p = parent(p) {
		if rng, ok := d.ranges[p]; ok {
			return problemAt(rng, path, "%s", message)
		}
	}
	return d.At(path, "%s", message)
}
