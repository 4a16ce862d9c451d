package jobspecs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// Prefetch is the job that fetches the images of a revision to the nodes that could run it.
type Prefetch struct {
	Job     json.RawMessage // Nomad's job, in JSON; nil: there is no image to fetch.
	Skipped []string        // What is not fetched, and why: a sentence for each.
}

// The bounds of a job that fetches images. Nomad accepts no less memory.
const (
	prefetchCPU       = 1  // MHz
	prefetchMemoryMB  = 10 // Of a container that ends at once.
	prefetchLogMB     = 1  // None is written; Nomad compares it with the disk all the same.
	prefetchAttempts  = 3  // After the first, where a registry may answer later.
	prefetchDelay     = 30 * time.Second
	maxPrefetchImages = 16
	maxPrefetchSkips  = 4
	// It displaces nothing where Nomad preempts, and is displaced by everything.
	prefetchPriority = 1
)

// PrefetchJob makes the job that fetches the images of a revision, by what is in the
// revision's own job: a sysbatch job in its namespace, on the nodes that its constraints
// allow, whose containers do nothing. None of the user's commands, templates, volumes and
// variables are in it. It always returns the same bytes.
func PrefetchJob(rev wadi.Revision, installation string) (Prefetch, error) {
	job, group, err := jobAndGroup(rev.Job)
	if err != nil {
		return Prefetch{}, fmt.Errorf("read the job of %s: %w", rev.ID, err)
	}
	var p prefetcher
	for _, task := range imageTasks(group) {
		p.add(task)
	}
	if len(p.tasks) == 0 {
		return Prefetch{Skipped: p.skips()}, nil
	}
	out, err := asObject(prefetchJob(rev, installation))
	if err != nil {
		return Prefetch{}, err
	}
	for _, key := range []string{"Datacenters", "NodePool", "Namespace", "Region"} {
		if v, set := job[key]; set {
			out[key] = v
		}
	}
	out["TaskGroups"] = []any{object{
		"Name":          wadi.GroupPrefetch,
		"Tasks":         p.tasks,
		"Constraints":   slices.Concat(constraintsOf(job, group), p.drivers, noopConstraints()),
		"EphemeralDisk": object{"SizeMB": diskMB + maxPrefetchImages*prefetchLogMB},
		"RestartPolicy": object{"Attempts": prefetchAttempts, "Interval": time.Hour, "Delay": prefetchDelay, "Mode": "fail"},
	}}
	data, err := json.Marshal(out)
	return Prefetch{Job: data, Skipped: p.skips()}, err
}

// jobAndGroup reads a revision's job, which has one group.
func jobAndGroup(data []byte) (job, group object, err error) {
	if job, err = toObject(data); err != nil {
		return nil, nil, err
	}
	groups := listOf(job, "TaskGroups")
	if len(groups) == 1 {
		group, _ = groups[0].(object)
	}
	if group == nil {
		return nil, nil, fmt.Errorf("it has %d groups, not one", len(groups))
	}
	return job, group, nil
}

func prefetchJob(rev wadi.Revision, installation string) *api.Job {
	id := wadi.PrefetchID(rev.ID)
	return &api.Job{
		ID: new(id), Name: new(id), Type: new("sysbatch"), Namespace: new(rev.Spec.Namespace), Priority: new(prefetchPriority),
		Meta: map[string]string{"wadi_service": rev.Service, "wadi_prefetch": rev.ID, "wadi_installation": installation},
		UI: &api.JobUIConfig{Description: fmt.Sprintf(
			"Fetches the images of **%s** to the nodes that could run it, before it starts. Its containers do nothing. Wadi removes it.", rev.ID)},
	}
}

// imageTasks are the tasks of a group, and the one that a sidecar service brings.
func imageTasks(group object) []object {
	var out []object
	tasks, _ := group["Tasks"].([]any)
	for _, t := range tasks {
		if task, ok := t.(object); ok {
			out = append(out, task)
		}
	}
	services, _ := group["Services"].([]any)
	for _, s := range services {
		service, _ := s.(object)
		connect, _ := service["Connect"].(object)
		if sidecar, ok := connect["SidecarTask"].(object); ok {
			named := object{"Name": "envoy", "Driver": "docker"} // Nomad's defaults.
			for k, v := range sidecar {
				if text, is := v.(string); v != nil && (!is || text != "") {
					named[k] = v
				}
			}
			out = append(out, named)
		}
	}
	return out
}

// prefetcher collects the tasks of the job.
type prefetcher struct {
	tasks   []any
	drivers []any // Constraints: nodes without a driver of another task can't run the revision.
	seen    []string
	skipped []string
}

// pulled are the settings of a task's configuration that decide how its image is pulled.
var pulled = []string{"image", "auth", "auth_soft_fail", "force_pull", "image_pull_timeout", "tls_verify"}

// add adds the image of a task, unless it is there already.
func (p *prefetcher) add(task object) {
	name, _ := task["Name"].(string)
	driver, _ := task["Driver"].(string)
	config, _ := task["Config"].(object)
	image, _ := config["image"].(string)
	if driver != "docker" && driver != "podman" {
		p.drivers = append(p.drivers, object{"LTarget": "${attr.driver." + driver + "}", "Operand": "is_set"})
		return
	}
	if image == "" {
		return
	}
	if config["load"] != nil {
		p.skip(name, "it is loaded from a file of the task")
		return
	}
	own := object{"entrypoint": []string{noopPath}, "network_mode": "none"}
	for _, key := range pulled {
		if v, set := config[key]; set {
			own[key] = v
		}
	}
	if ref := foreignReference(own); ref != "" {
		p.skip(name, fmt.Sprintf("%s is known to the task alone", ref))
		return
	}
	key, err := json.Marshal([]any{driver, own})
	if err != nil || slices.Contains(p.seen, string(key)) {
		return
	}
	if len(p.tasks) == maxPrefetchImages {
		p.skip(name, fmt.Sprintf("at most %d images are fetched", maxPrefetchImages))
		return
	}
	p.seen = append(p.seen, string(key))
	p.tasks = append(p.tasks, object{
		"Name": name, "Driver": driver, "Config": own,
		"Resources": object{"CPU": prefetchCPU, "MemoryMB": prefetchMemoryMB},
		"LogConfig": object{"Disabled": true, "MaxFiles": 1, "MaxFileSizeMB": prefetchLogMB},
		"Templates": []any{object{"EmbeddedTmpl": noopTemplate, "DestPath": noopPath[1:], "Perms": "755", "ChangeMode": "noop"}},
	})
}

func (p *prefetcher) skip(task, why string) {
	p.skipped = append(p.skipped, fmt.Sprintf("the image of task %s is not fetched: %s", task, why))
}

// skips are the first of what is skipped.
func (p *prefetcher) skips() []string { return p.skipped[:min(len(p.skipped), maxPrefetchSkips)] }

// foreignReference finds a reference in strings within v that is not the node's: it has
// another value in another task, or none. Empty: there is none.
func foreignReference(v any) string {
	switch v := v.(type) {
	case string:
		for _, part := range strings.Split(v, "${")[1:] {
			name, _, _ := strings.Cut(part, "}")
			own := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
			if !slices.ContainsFunc([]string{"attr.", "meta.", "node."}, own) {
				return wadi.OneLine("${"+name+"}", maxReference)
			}
		}
	case []any:
		for _, e := range v {
			if ref := foreignReference(e); ref != "" {
				return ref
			}
		}
	case object:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if ref := foreignReference(v[key]); ref != "" {
				return ref
			}
		}
	}
	return ""
}

const maxReference = 64

// constraintsOf are those of a job, its group and its tasks: an instance is on one node.
// How instances are spread over nodes says nothing about which nodes could run them.
func constraintsOf(job, group object) []any {
	all := slices.Concat(listOf(job, "Constraints"), listOf(group, "Constraints"))
	for _, task := range imageTasks(group) {
		all = append(all, listOf(task, "Constraints")...)
	}
	return slices.DeleteFunc(all, func(c any) bool {
		constraint, _ := c.(object)
		operand, _ := constraint["Operand"].(string)
		return strings.HasPrefix(operand, "distinct_")
	})
}

func listOf(o object, key string) []any {
	list, _ := o[key].([]any)
	return list
}
