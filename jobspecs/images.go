package jobspecs

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/wadi-run/wadi"
)

// TaskImage is what a task's config says about an image.
type TaskImage struct {
	Task, Driver  string
	Name          string // Empty: the task has no image, or it is no text.
	Loaded        bool   // The image is one of a file: its name is looked up on the node.
	NoHealthcheck bool   // Docker is told not to run the image's HEALTHCHECK.
	Auth          bool   // The task has credentials of its own.
	Own           bool   // The task is the agent's, not the user's.
}

// Images lists the images of a service's tasks, in their order.
func Images(s wadi.Service) ([]TaskImage, error) {
	var group struct{ Tasks []imageTask }
	if err := json.Unmarshal(s.Instance, &group); err != nil {
		return nil, fmt.Errorf("read instance: %w", err)
	}
	var all []TaskImage
	for _, t := range group.Tasks {
		if i := t.image(t.Name); i.Name != "" {
			all = append(all, i)
		}
	}
	return all, nil
}

// Images lists the images of the agent's own tasks in the jobs of a service.
func (a Agent) Images(s wadi.Service) ([]TaskImage, error) {
	var all []TaskImage
	for name, raw := range map[string]json.RawMessage{wadi.TaskQueueProxy: a.QueueProxyTask, wadi.PortEnvoy(s.Name): a.SidecarTask} {
		if len(raw) == 0 || name != wadi.TaskQueueProxy && s.Mesh != wadi.MeshEnvoy {
			continue
		}
		var t imageTask
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, fmt.Errorf("read the agent's task %s: %w", name, err)
		}
		if i := t.image(name); i.Name != "" {
			i.Own = true
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b TaskImage) int {
		if a.Task == wadi.TaskQueueProxy {
			return -1
		}
		return 1
	})
	return all, nil
}

// imageTask is the part of a task that says which image it runs.
type imageTask struct {
	Name   string
	Driver string
	Config map[string]any
}

func (t imageTask) image(task string) TaskImage {
	i := TaskImage{Task: task, Driver: t.Driver}
	i.Name, _ = t.Config["image"].(string)
	_, i.Loaded = t.Config["load"]
	_, i.Auth = t.Config["auth"]
	i.NoHealthcheck = disabled(t.Config["healthchecks"])
	return i
}

// disabled reports whether a block, or the last of a list of them, has disable = true.
func disabled(block any) bool {
	if list, ok := block.([]any); ok && len(list) > 0 {
		block = list[len(list)-1]
	}
	fields, _ := block.(map[string]any)
	off := fields["disable"]
	return off == true || off == "true" // Nomad takes both.
}

// pin puts the digest of the revision into a task's image.
func (r *renderer) pin(task object) {
	name, _ := task["Name"].(string)
	r.pinAs(name, task)
}

// pinAs is pin for a task that goes by another name.
func (r *renderer) pinAs(name string, task object) {
	driver, _ := task["Driver"].(string)
	config, _ := task["Config"].(object)
	for _, i := range r.rev.Images {
		if i.Task == name && i.Resolved() && config["image"] == i.Name {
			config["image"] = i.Reference(driver)
		}
	}
}

// maxShownImage bounds an image in the description of a job, in bytes.
const maxShownImage = 120

// servingImage is the image of the task that serves, for the job's description; empty: it
// has no digest, or is too long.
func (r *renderer) servingImage() string {
	for _, i := range r.rev.Images {
		if i.Task == r.spec.ServingTask && i.Resolved() && len(i.String()) <= maxShownImage {
			return ", image `" + i.String() + "`"
		}
	}
	return ""
}
