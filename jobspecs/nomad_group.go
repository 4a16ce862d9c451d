package jobspecs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// Complete returns the whole service. jobJSON is what Nomad's parser made of NomadSource.
// It refuses settings that an instance may not have and Parse could not see.
func (d *Draft) Complete(jobJSON []byte) (wadi.Service, []wadi.Problem) {
	s := d.Service
	raw, group, err := groupOf(jobJSON)
	if err != nil {
		return s, []wadi.Problem{d.inInstance("instance", "read the parsed job: %s", err)}
	}
	f := &groupChecker{draft: d}
	f.group(group)
	networks, _ := raw["Networks"].([]any)
	f.networks(networks, group.Networks)
	for _, t := range group.Tasks {
		f.task(t)
	}
	s.ServingTask = f.servingTask(group.Tasks)
	f.warnExtraHosts(raw, group.Tasks)

	raw["Name"] = wadi.GroupInstance
	if s.Instance, err = json.Marshal(raw); err != nil {
		f.add("instance", "write the parsed group: "+err.Error())
	}
	f.secrets(s)
	sortProblems(f.problems)
	return s, f.problems
}

// groupOf reads the only group of a job twice: as it is, so that nothing is lost that a
// newer Nomad has and Wadi's types do not, and as Wadi's types.
func groupOf(jobJSON []byte) (object, *api.TaskGroup, error) {
	var job struct{ TaskGroups []json.RawMessage }
	if err := json.Unmarshal(jobJSON, &job); err != nil {
		return nil, nil, err
	}
	if len(job.TaskGroups) != 1 {
		return nil, nil, fmt.Errorf("it has %d groups, not one", len(job.TaskGroups))
	}
	raw, err := toObject(job.TaskGroups[0])
	if err != nil {
		return nil, nil, err
	}
	var group api.TaskGroup
	if err := json.Unmarshal(job.TaskGroups[0], &group); err != nil {
		return nil, nil, err
	}
	for _, t := range group.Tasks {
		if t == nil {
			return nil, nil, fmt.Errorf("a task is null")
		}
	}
	return raw, &group, nil
}

type groupChecker struct {
	draft    *Draft
	problems []wadi.Problem
}

// add complains about path, unless Parse has done so.
func (f *groupChecker) add(path, message string) {
	if !f.draft.reported[path] {
		f.problems = append(f.problems, f.draft.inInstance(path, "%s", message))
	}
}

func (f *groupChecker) warn(path, message string) {
	p := f.draft.inInstance(path, "%s", message)
	p.Warning = true
	f.problems = append(f.problems, p)
}

func (f *groupChecker) group(g *api.TaskGroup) {
	for _, c := range []struct {
		set           bool
		name, message string
	}{
		{g.Count != nil, "count", notCount},
		{g.Scaling != nil, "scaling", notScaling},
		{g.Update != nil, "update", notUpdate},
		{g.ShutdownDelay != nil, "shutdown_delay", notShutdownDelay},
	} {
		if c.set {
			f.add("instance."+c.name, c.message)
		}
	}
	f.services(g.Services, "instance")
}

func (f *groupChecker) services(services []*api.Service, path string) {
	for _, s := range services {
		if s == nil {
			continue
		}
		if s.Name == f.draft.Service.Name {
			f.add(join(path, "service."+s.Name), notService(s.Name))
		}
		if s.Connect != nil {
			f.add(join(path, "service.connect"), notConnect)
		}
	}
}

func (f *groupChecker) task(t *api.Task) {
	path := "instance.task." + t.Name
	if wadi.OwnTask(t.Name) {
		f.add(path, notTask(t.Name))
	}
	if t.Leader {
		f.add(path+".leader", notLeader)
	}
	if t.Kind != "" {
		f.add(path+".kind", notKind)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		if reservedEnv(name) {
			f.add(path+".env."+name, notEnv(name))
		}
	}
	f.warnUnstableEnv(t, path+".env")
	if t.Resources != nil && len(t.Resources.Networks) > 0 {
		f.add(path+".resources.network", notNetwork)
	}
	f.services(t.Services, path)
}

// warnUnstableEnv warns of references that Nomad resolves at some starts only.
func (f *groupChecker) warnUnstableEnv(t *api.Task, path string) {
	names, refers := unstableReferences(t)
	for _, name := range names {
		f.warn(join(path, name), fmt.Sprintf("it refers to %s in the same env, which Nomad resolves at some starts and leaves as it is at others; write the value, or use a local for both", refers[name]))
	}
}

// servingTask chooses the task that listens on $PORT: the named one, or else the only one
// that is not a lifecycle task.
func (f *groupChecker) servingTask(tasks []*api.Task) string {
	var main, other []string
	for _, t := range tasks {
		if t.Lifecycle == nil {
			main = append(main, t.Name)
		} else {
			other = append(other, t.Name)
		}
	}
	named := f.draft.Service.ServingTask
	switch {
	case len(tasks) == 0:
		f.add("instance", "no task; add at least the one that serves requests")
	case len(main) == 0:
		f.add("instance", "only lifecycle tasks; add the task that serves requests, without a lifecycle block")
	case named != "" && slices.Contains(other, named):
		f.problems = append(f.problems, f.draft.At("serving_task", "%q is a lifecycle task, which can't serve; use one of: %s", named, strings.Join(main, ", ")))
	case named != "" && !slices.Contains(main, named):
		f.problems = append(f.problems, f.draft.At("serving_task", "there is no task %q in the instance; use one of: %s", named, strings.Join(main, ", ")))
	case named != "":
		return named
	case len(main) > 1:
		f.problems = append(f.problems, f.draft.At("serving_task", "several tasks; say which one listens on $PORT: serving_task = %q (or one of: %s)", main[0], strings.Join(main[1:], ", ")))
	default:
		return main[0]
	}
	return ""
}

// inInstance makes a problem about the instance block, at the setting that it is about, or at
// the nearest block around it that is in the file.
func (d *Draft) inInstance(path, format string, args ...any) wadi.Problem {
	rng := d.instance.DefRange()
	if strings.HasPrefix(path, "instance.") {
		rng, _ = within(d.instance, splitPath(path))
	}
	if rng == (hcl.Range{}) {
		rng = d.service.DefRange()
	}
	return problemAt(rng, path, format, args...)
}
