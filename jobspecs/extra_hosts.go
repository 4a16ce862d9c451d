package jobspecs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// In a bridge network Nomad writes one hosts file per allocation, with the extra_hosts of
// the container that starts first: that is Envoy, or the queue-proxy as often as the app. So
// each container gets the entries of all.

// keyExtraHosts is a key of a container's config: a list of "NAME:ADDRESS".
const keyExtraHosts = "extra_hosts"

// container reports whether a driver runs containers that share Nomad's hosts file.
func container(driver any) bool { return driver == "docker" || driver == "podman" }

// extraHosts is what the containers of tasks have for their hosts file, first the task that
// serves. Entries that only their own task's environment explains are left out; see
// [groupChecker.warnExtraHosts].
func extraHosts(tasks []any, serving string) []any {
	var first, rest []any
	for _, t := range tasks {
		task, _ := t.(object)
		entries, _ := sharedHosts(task)
		if task["Name"] == serving {
			first = append(first, entries...)
		} else {
			rest = append(rest, entries...)
		}
	}
	return withoutRepeats(append(first, rest...))
}

// sharedHosts are the entries of a task that mean the same in another task, and those that
// do not.
func sharedHosts(task object) (shared, own []any) {
	if !container(task["Driver"]) {
		return nil, nil
	}
	config, _ := task["Config"].(object)
	entries, _ := config[keyExtraHosts].([]any)
	env := map[string]string{}
	given, _ := task["Env"].(object)
	for k, v := range given {
		if s, ok := v.(string); ok {
			env[k] = s
		}
	}
	for _, e := range entries {
		s, ok := e.(string)
		if !ok {
			continue // Nomad's driver says so.
		}
		if known := resolve(s, env).(string); onlyThere(known) {
			own = append(own, s)
		} else {
			shared = append(shared, known)
		}
	}
	return shared, own
}

// onlyThere reports whether a text refers to a variable that only one task has.
func onlyThere(s string) bool {
	for _, m := range reference.FindAllStringSubmatch(s, -1) {
		if !strings.HasPrefix(m[1], "NOMAD_") && !reservedEnv(m[1]) {
			return true
		}
	}
	return false
}

func withoutRepeats(entries []any) []any {
	var out []any
	for _, e := range entries {
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// setExtraHosts gives a container's config the entries of all, and those that only it can
// read.
func setExtraHosts(task object, entries []any) {
	if container(task["Driver"]) {
		_, own := sharedHosts(task)
		inner(task, "Config")[keyExtraHosts] = append(slices.Clone(entries), own...)
	}
}

// shareExtraHosts gives all containers of the group the same entries, Envoy's included.
func (r *renderer) shareExtraHosts(tasks []any, service object) error {
	if r.spec.Network == wadi.Host {
		return nil // Each container has a hosts file of its own.
	}
	connect, _ := service["Connect"].(object)
	envoy, _ := connect["SidecarTask"].(object)
	entries := extraHosts(append(slices.Clone(tasks), any(envoy)), r.spec.ServingTask)
	if len(entries) == 0 {
		return nil
	}
	for _, t := range tasks {
		if task, ok := t.(object); ok {
			setExtraHosts(task, entries)
		}
	}
	if connect == nil {
		return nil
	}
	if envoy == nil {
		var err error
		if envoy, err = nomadsSidecar(tasks); err != nil {
			return err
		}
		connect["SidecarTask"] = envoy
	}
	setExtraHosts(envoy, entries)
	return nil
}

// nomadsSidecar is what Nomad makes for Envoy where a job has no body for its task. A body
// replaces its resources, logs and delay by those of any task, so all are here; the image and its
// arguments are Nomad's in either case.
func nomadsSidecar(tasks []any) (object, error) {
	driver := "docker"
	drivers := map[any]bool{}
	for _, t := range tasks {
		if task, ok := t.(object); ok {
			drivers[task["Driver"]] = true
		}
	}
	if drivers["podman"] && !drivers["docker"] {
		driver = "podman"
	}
	return asObject(map[string]any{
		"Driver":        driver,
		"Resources":     map[string]any{"CPU": 250, "MemoryMB": 128},
		"LogConfig":     map[string]any{"MaxFiles": 2, "MaxFileSizeMB": 2},
		"ShutdownDelay": 5 * time.Second,
	})
}

// warnExtraHosts warns of entries that can't reach all containers of an instance, or that
// contradict each other.
func (f *groupChecker) warnExtraHosts(raw object, tasks []*api.Task) {
	if f.draft.Service.Network == wadi.Host {
		return // Each container has a hosts file of its own.
	}
	all, _ := raw["Tasks"].([]any)
	type place struct{ task, address string }
	known := map[string]place{}
	for i, t := range tasks {
		task, _ := all[i].(object)
		path := "instance.task." + t.Name + ".config." + keyExtraHosts
		shared, own := sharedHosts(task)
		for _, e := range own {
			f.warn(path, fmt.Sprintf("%q refers to a variable that only this task has, and all containers of an instance share one hosts file, which the first of them brings: write the address, or a ${meta.…} or ${attr.…} of the node", e))
		}
		mine := map[string]string{}
		for _, e := range shared {
			if name, address, ok := strings.Cut(e.(string), ":"); ok && mine[name] == "" {
				mine[name] = address
			}
		}
		for _, name := range slices.Sorted(maps.Keys(mine)) {
			if was, ok := known[name]; ok && was.address != mine[name] {
				f.warn(path, fmt.Sprintf("%s is %s here and %s in task %s: all containers of an instance share one hosts file, which gets both", name, mine[name], was.address, was.task))
				continue
			}
			known[name] = place{t.Name, mine[name]}
		}
	}
}
