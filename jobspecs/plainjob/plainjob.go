// Package plainjob turns a revision's job into the plain Nomad job that runs without Wadi.
//
// It promises a job that Nomad takes as it is, without queue-proxy and without anything of
// Wadi's, and a sentence for each thing that has changed for the app or its callers. It
// refuses to replace what Wadi does: such a job has a fixed count, and no gateway.
package plainjob

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
)

// Job is a plain Nomad job.
type Job struct {
	Data  json.RawMessage // An api.Job in JSON, indented.
	Notes []string        // What is different from the revision, a sentence each.
}

// object is a JSON object. Its numbers are json.Number, so that durations keep all their
// digits.
type object = map[string]any

// envPrefix starts the names of the variables that only Wadi's own programs need.
const envPrefix = "WADI_"

// New makes the plain job of a revision, with the given count of instances.
func New(rev wadi.Revision, count int) (Job, error) {
	job, err := toObject(rev.Job)
	if err != nil {
		return Job{}, fmt.Errorf("revision %s: read its job: %w", rev.ID, err)
	}
	p := &converter{rev: rev, spec: rev.Spec, port: "app"}
	if err := p.convert(job, count); err != nil {
		return Job{}, fmt.Errorf("revision %s: %w", rev.ID, err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(job); err != nil {
		return Job{}, fmt.Errorf("revision %s: write its job: %w", rev.ID, err)
	}
	return Job{Data: out.Bytes(), Notes: p.notes}, nil
}

type converter struct {
	rev   wadi.Revision
	spec  wadi.Service
	port  string // The label of the app's port.
	notes []string
}

func (p *converter) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

func (p *converter) convert(job object, count int) error {
	group, err := p.group(job)
	if err != nil {
		return err
	}
	p.identity(job)
	group["Count"] = count
	delete(group, "Scaling")
	p.note("The count is %d, and stays so until you change it: nothing scales it by the load, or to zero and back.", count)
	if err := p.tasks(job, group); err != nil {
		return err
	}
	p.ports(group)
	if err := p.service(group); err != nil {
		return err
	}
	p.rename(job)
	p.behaviour()
	return nil
}

// group is the one group of the job.
func (p *converter) group(job object) (object, error) {
	groups, _ := job["TaskGroups"].([]any)
	if len(groups) == 1 {
		if g, ok := groups[0].(object); ok && g["Name"] == wadi.GroupInstance {
			return g, nil
		}
	}
	return nil, fmt.Errorf("its job does not have the one group %q", wadi.GroupInstance)
}

// identity gives the job the service's name, and takes Wadi's marks from it.
func (p *converter) identity(job object) {
	job["ID"], job["Name"] = p.rev.Service, p.rev.Service
	for _, key := range []string{"Dispatched", "UI"} {
		delete(job, key)
	}
	if meta, ok := job["Meta"].(object); ok {
		for key := range meta {
			if strings.HasPrefix(key, "wadi_") {
				delete(meta, key)
			}
		}
		dropEmpty(job, "Meta")
	}
	p.note("The job is %q: Wadi's own, %q, runs on beside it until \"wadi service delete %s\".", p.rev.Service, p.rev.ID, p.rev.Service)
}

// tasks removes the queue-proxy, and what the other tasks have of Wadi.
func (p *converter) tasks(job, group object) error {
	all, _ := group["Tasks"].([]any)
	var kept []any
	var longest int64
	for _, t := range all {
		task, ok := t.(object)
		if !ok {
			return errors.New("a task of its job is no object")
		}
		if task["Name"] == wadi.TaskQueueProxy {
			continue
		}
		if env, ok := task["Env"].(object); ok {
			for key := range env {
				if strings.HasPrefix(key, envPrefix) {
					delete(env, key)
				}
			}
			dropEmpty(task, "Env")
		}
		longest = max(longest, nanoseconds(task["KillTimeout"]))
		kept = append(kept, task)
	}
	if len(kept) == 0 || len(kept) == len(all) {
		return fmt.Errorf("its job does not have the task %s beside the app's", wadi.TaskQueueProxy)
	}
	group["Tasks"] = kept
	p.deployments(job, longest)
	p.note("There is no queue-proxy: requests reach task %q itself.", p.spec.ServingTask)
	if p.spec.Mesh != wadi.MeshEnvoy {
		p.note("The app has to listen on every address: what listens on 127.0.0.1 only was reached through the queue-proxy.")
	}
	return nil
}

// toObject reads a JSON object.
func toObject(data []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var o object
	if err := dec.Decode(&o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("an object is required, got null")
	}
	return o, nil
}

// dropEmpty removes the object under key if nothing is in it.
func dropEmpty(o object, key string) {
	if m, ok := o[key].(object); ok && len(m) == 0 {
		delete(o, key)
	}
}

func nanoseconds(v any) int64 {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return i
}
