// Package admissiontest has stand-ins for Nomad, Consul's catalog and the store, for
// tests of admission and of what is in front of it. They keep state and know the
// rules that matter: indexes, rights, all or nothing. They run nothing.
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

// Grant is what a token may do, by namespace.
type Grant struct {
	Submit, Read []string // Who may submit may read, here.
	Blind, Scale []string // Who may submit or scale, and not read.
}

// MayWriteIntentions stands in for Consul: without Guard everybody may.
func (n *Nomad) MayWriteIntentions(_ context.Context, token, service string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return n.down
	}
	if n.guarded != nil && !slices.Contains(n.guarded[token], service) {
		return wadi.ErrForbidden
	}
	return nil
}

// Guard switches Consul's ACLs on: a token may write the intentions of services.
func (n *Nomad) Guard(token string, services ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guarded == nil {
		n.guarded = map[string][]string{}
	}
	n.guarded[token] = append(n.guarded[token], services...)
}

// Nomad is a stand-in for Nomad. The zero value has no jobs and no ACL.
type Nomad struct {
	mu     sync.Mutex
	index  uint64
	jobs   map[string]job
	calls  []string
	tokens map[string]Grant

	asked   []string            // Since the last Asked.
	guarded map[string][]string // Consul tokens, and whose intentions they may write.
	down    error

	// OnRegister, if set, runs before a job is registered; its error is the answer.
	OnRegister func(id string) error
	// OnPlan, if set, answers a plan, in its own time.
	OnPlan func(id string) (warnings string, err error)
}

type job struct {
	admission.Job
	raw string
}

var _ admission.Nomad = (*Nomad)(nil)

// Allow switches the ACL on and gives token a grant.
func (n *Nomad) Allow(token string, g Grant) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.tokens == nil {
		n.tokens = map[string]Grant{}
	}
	n.tokens[token] = g
}

// Fail makes every call fail with err until it is nil again.
func (n *Nomad) Fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = err
}

// Put places a job as if somebody else had registered it, and returns its index.
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

// Asked lists what was asked for rights, and empties the list.
func (n *Nomad) Asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.asked
	n.asked = nil
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

// may is called with mu held.
func (n *Nomad) may(token, namespace string, pick func(Grant) []string) error {
	allowed := slices.Contains(pick(n.tokens[token]), namespace)
	n.asked = append(n.asked, fmt.Sprintf("allowed=%t", allowed))
	if n.down != nil {
		return n.down
	}
	if n.tokens != nil && !allowed {
		return wadi.ErrForbidden
	}
	return nil
}

func submit(g Grant) []string { return append(slices.Clone(g.Submit), g.Blind...) }
func read(g Grant) []string   { return append(slices.Clone(g.Submit), g.Read...) }

// MaySubmit implements admission.Rights.
func (n *Nomad) MaySubmit(_ context.Context, token, namespace string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.may(token, namespace, submit)
}

// MayRead is what the server asks.
func (n *Nomad) MayRead(_ context.Context, token, namespace string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.may(token, namespace, read)
}

// MayScale is what the server asks: who may submit may scale.
func (n *Nomad) MayScale(_ context.Context, token, namespace string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.may(token, namespace, func(g Grant) []string { return append(submit(g), g.Scale...) })
}

// Known is what the server asks: those are that have a grant, be it an empty one.
func (n *Nomad) Known(ctx context.Context, token string) (acls bool, err error) {
	n.mu.Lock()
	_, ok := n.tokens[token]
	n.asked = append(n.asked, "known")
	acls, err = n.tokens != nil, n.down
	n.mu.Unlock()
	switch {
	case err != nil || !acls:
	case token == "":
		err = n.MayRead(ctx, token, "default")
	case !ok:
		err = fmt.Errorf("%w: ACL token not found", wadi.ErrForbidden)
	}
	return acls, err
}

// Readable is what the server asks.
func (n *Nomad) Readable(ctx context.Context, token string, namespaces []string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, ns := range namespaces {
		switch err := n.MayRead(ctx, token, ns); {
		case err == nil:
			out[ns] = true
		case !errors.Is(err, wadi.ErrForbidden):
			return nil, err
		}
	}
	if len(out) == 0 {
		if _, err := n.Known(ctx, token); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Revoke makes a token unknown.
func (n *Nomad) Revoke(token string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.tokens, token)
}

// TokenName is what the server asks: every token is alice's.
func (n *Nomad) TokenName(_ context.Context, token string) string {
	if token == "" {
		return ""
	}
	return "alice"
}

var (
	command = regexp.MustCompile(`command\s*=\s*"([^"]*)"`)
	mistake = regexp.MustCompile(`\bcpuu\b`)
)

// ParseJob takes who may submit, and knows one task whose config may have a command. It complains about
// cpuu as Nomad does.
func (n *Nomad) ParseJob(ctx context.Context, token, namespace, jobHCL, _ string) ([]byte, error) {
	if err := n.MaySubmit(ctx, token, namespace); err != nil {
		return nil, err // It judges rights in the namespace that it is told.
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
	return json.Marshal(map[string]any{"TaskGroups": []any{map[string]any{
		"Name":  "i",
		"Tasks": []any{map[string]any{"Name": "web", "Driver": "raw_exec", "Config": config}},
	}}})
}

// PlanJob implements admission.Jobs.
func (n *Nomad) PlanJob(_ context.Context, token string, raw json.RawMessage) (string, error) {
	head, _, err := parse(raw)
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	err = n.may(token, head.Namespace, submit)
	n.mu.Unlock()
	if err != nil {
		return "", err
	}
	if n.OnPlan != nil {
		return n.OnPlan(head.ID)
	}
	return "", nil
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
