// Package admissiontest has fakes of Nomad, Consul's catalog and the store, for tests of
// admission and of the API in front of it. They keep state and follow the rules that
// matter: indexes, rights, all or nothing. They run nothing.
package admissiontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
)

// Nomad is a fake of Nomad. The zero value has no jobs and no ACL.
type Nomad struct {
	mu     sync.Mutex
	index  uint64
	jobs   map[string]job
	calls  []string
	tokens map[string]Grant

	asked   []string            // Since the last Asked.
	guarded map[string][]string // By Consul token: the services whose intentions it may write.
	down    error

	// OnRegister, if set, runs before a job is registered; its error is the answer.
	OnRegister func(id string) error
	// OnMayRegister, if set, is asked for the right to register a job.
	OnMayRegister func(id string) error
	// OnPlan, if set, answers a plan.
	OnPlan func(id string) (warnings string, err error)
}

type job struct {
	admission.Job
	raw string
}

var _ admission.Nomad = (*Nomad)(nil)

// Fail makes every call fail with err until it is nil again.
func (n *Nomad) Fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = err
}

// Put registers a job outside Wadi, and returns its index.
func (n *Nomad) Put(namespace, id string, meta map[string]string, count int) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.put(namespace, id, job{Job: admission.Job{Meta: meta, Count: count}})
}

// Jobs lists the jobs as namespace/id, sorted.
func (n *Nomad) Jobs() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.jobs))
}

// Calls lists what was registered and purged, with which token, and empties the list.
func (n *Nomad) Calls() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.calls
	n.calls = nil
	return out
}

func (n *Nomad) put(namespace, id string, j job) uint64 {
	if n.jobs == nil {
		n.jobs = map[string]job{}
	}
	n.index++
	j.ModifyIndex = n.index
	n.jobs[namespace+"/"+id] = j
	return n.index
}

var (
	password   = regexp.MustCompile(`password\s*=\s*"([^"]*)"`)
	command    = regexp.MustCompile(`command\s*=\s*"([^"]*)"`)
	imageName  = regexp.MustCompile(`image\s*=\s*"([^"]*)"`)
	driverName = regexp.MustCompile(`driver\s*=\s*"([^"]*)"`)
	hostVolume = regexp.MustCompile(`volume "([^"]+)"`)
	healthOff  = regexp.MustCompile(`healthchecks \{\s*disable\s*=\s*(true|false)`)
	jobCommand = regexp.MustCompile(`"command":"[^"]*"`)
	mistake    = regexp.MustCompile(`\bcpuu\b`)
)

// ParseJob needs the right to submit. Its job has one task, whose config may have a command
// and a password.
// It complains about cpuu as Nomad does.
func (n *Nomad) ParseJob(ctx context.Context, token, namespace, jobHCL, _ string) ([]byte, error) {
	if err := n.MaySubmit(ctx, token, namespace); err != nil {
		return nil, err // As Nomad, by the namespace of the request.
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at := mistake.FindStringIndex(jobHCL); at != nil {
		line := 1 + strings.Count(jobHCL[:at[0]], "\n")
		column := at[0] - strings.LastIndex(jobHCL[:at[0]], "\n")
		return nil, fmt.Errorf(`input.hcl:%d,%d-%d: Unsupported argument; An argument named "cpuu" is not expected here. Did you mean "cpu"?`,
			line, column, column+4)
	}
	config := map[string]any{}
	if m := command.FindStringSubmatch(jobHCL); m != nil {
		config["command"] = m[1]
	}
	if m := password.FindStringSubmatch(jobHCL); m != nil {
		config["auth"] = []any{map[string]any{"password": m[1]}}
	}
	tasks := imageTasks(jobHCL)
	if len(tasks) == 0 {
		tasks = []any{map[string]any{"Name": "web", "Driver": "raw_exec", "Config": config}}
	}
	group := map[string]any{"Name": "i", "Tasks": tasks}
	if m := hostVolume.FindStringSubmatch(jobHCL); m != nil {
		group["Volumes"] = map[string]any{m[1]: map[string]any{"Name": m[1], "Type": "host", "Source": m[1]}}
	}
	return json.Marshal(map[string]any{"TaskGroups": []any{group}})
}

// imageTasks are the tasks of a job whose tasks have images.
func imageTasks(jobHCL string) (tasks []any) {
	for _, block := range strings.Split(jobHCL, "task \"")[1:] {
		name, _, _ := strings.Cut(block, `"`)
		image, driver := imageName.FindStringSubmatch(block), driverName.FindStringSubmatch(block)
		if image != nil && driver != nil {
			config := map[string]any{"image": strings.ReplaceAll(image[1], "$${", "${")}
			if m := healthOff.FindStringSubmatch(block); m != nil {
				config["healthchecks"] = []any{map[string]any{"disable": m[1] == "true"}}
			}
			t := map[string]any{"Name": name, "Driver": driver[1], "Config": config}
			if strings.Contains(block, "lifecycle") {
				t["Lifecycle"] = map[string]any{"Hook": "prestart", "Sidecar": true}
			}
			tasks = append(tasks, t)
		}
	}
	return tasks
}

// PlanJob implements admission.Jobs.
func (n *Nomad) PlanJob(_ context.Context, token string, raw json.RawMessage, count int, diff bool) (admission.JobPlan, error) {
	head, _, err := parse(raw)
	if err != nil {
		return admission.JobPlan{}, err
	}
	n.mu.Lock()
	old, exists := n.jobs[head.Namespace+"/"+head.ID]
	err = n.may(token, head.Namespace, submit)
	n.mu.Unlock()
	if err != nil {
		return admission.JobPlan{}, err
	}
	var out admission.JobPlan
	if n.OnPlan != nil {
		out.Warnings, err = n.OnPlan(head.ID)
	}
	if diff {
		out.Placed, out.Diff = count, compare(old.raw, string(raw), head.ID, exists)
	}
	return out, err
}

// compare is a diff of jobs as Nomad makes it, as far as the tasks' commands go.
func compare(old, next, id string, exists bool) wadi.Change {
	c := wadi.Change{Kind: wadi.ChangeEdited, Name: wadi.JobPart(wadi.PartJob, id)}
	was, is := jobCommand.FindString(old), jobCommand.FindString(next)
	switch {
	case !exists:
		c.Kind = wadi.ChangeAdded
	case was == is:
		c.Kind = wadi.ChangeNone
	default:
		c.Changes = []wadi.Change{{Kind: wadi.ChangeEdited, Name: "command", Old: was, New: is}}
	}
	return c
}

// MayRegister implements admission.Jobs.
func (n *Nomad) MayRegister(_ context.Context, token string, raw json.RawMessage) error {
	head, _, err := parse(raw)
	if err != nil {
		return err
	}
	if n.OnMayRegister != nil {
		if err := n.OnMayRegister(head.ID); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.may(token, head.Namespace, submit)
}

// RegisterAt implements admission.Jobs.
func (n *Nomad) RegisterAt(ctx context.Context, token string, raw json.RawMessage, index uint64) (uint64, error) {
	head, count, err := parse(raw)
	if err != nil {
		return 0, err
	}
	if n.OnRegister != nil {
		if err := n.OnRegister(head.ID); err != nil {
			return 0, err
		}
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.may(token, head.Namespace, submit); err != nil {
		return 0, err
	}
	if n.jobs[head.Namespace+"/"+head.ID].ModifyIndex != index {
		return 0, fmt.Errorf("job modify index is not %d: %w", index, wadi.ErrConflict)
	}
	n.calls = append(n.calls, "register "+head.ID+" "+token)
	if n.jobs[head.Namespace+"/"+head.ID].raw == string(raw) {
		return index, nil // As Nomad does: the same job again is no change.
	}
	return n.put(head.Namespace, head.ID, job{Job: admission.Job{Meta: head.Meta, Count: count}, raw: string(raw)}), nil
}

// Job implements admission.Jobs.
func (n *Nomad) Job(_ context.Context, token, namespace, id string) (admission.Job, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.may(token, namespace, read); err != nil {
		return admission.Job{}, err
	}
	j, ok := n.jobs[namespace+"/"+id]
	if !ok {
		return admission.Job{}, wadi.ErrNotFound
	}
	return j.Job, nil
}

// Purge implements admission.Jobs.
func (n *Nomad) Purge(_ context.Context, token, namespace, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.may(token, namespace, submit); err != nil {
		return err
	}
	n.calls = append(n.calls, "purge "+id+" "+token)
	delete(n.jobs, namespace+"/"+id)
	return nil
}

type header struct {
	ID        string
	Namespace string
	Meta      map[string]string
}

func parse(raw json.RawMessage) (header, int, error) {
	var j struct {
		header
		TaskGroups []struct{ Count int }
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return header{}, 0, err
	}
	if j.ID == "" || j.Namespace == "" || len(j.TaskGroups) != 1 {
		return header{}, 0, errors.New("1 error occurred:\n\t* missing job ID, namespace or group")
	}
	return j.header, j.TaskGroups[0].Count, nil
}
