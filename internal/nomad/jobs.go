package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
	"golang.org/x/sync/errgroup"
)

// MetaService is the key in a job's meta that names its service. A job without it is not
// Wadi's.
const MetaService = "wadi_service"

// Job is a job's state in Nomad.
type Job struct {
	ID             string
	Namespace      string
	Meta           map[string]string
	JobModifyIndex uint64 // Changes when the job is submitted, not when its status changes.
	ModifyIndex    uint64
	CreateIndex    uint64
	Version        uint64
	Stopped        bool
	Count          int    // Of the instance group.
	Status         string // Nomad's; a job at count 0 is "dead", too.
}

// job mirrors the part of Nomad's job that a Job needs.
type job struct {
	ID             string
	Namespace      string
	Meta           map[string]string
	JobModifyIndex uint64
	ModifyIndex    uint64
	CreateIndex    uint64
	Version        uint64
	Stop           bool
	Status         string
	TaskGroups     []struct {
		Name  string
		Count int
	}
}

func (j job) export() Job {
	out := Job{
		ID: j.ID, Namespace: j.Namespace, Meta: j.Meta, JobModifyIndex: j.JobModifyIndex,
		ModifyIndex: j.ModifyIndex, CreateIndex: j.CreateIndex, Version: j.Version, Stopped: j.Stop, Status: j.Status,
	}
	for _, g := range j.TaskGroups {
		if g.Name == wadi.GroupInstance {
			out.Count = g.Count
		}
	}
	return out
}

// Job reads a job.
func (c *Client) Job(ctx context.Context, token, namespace, id string) (Job, error) {
	var j job
	if _, err := c.api().Raw().Query("/v1/job/"+url.PathEscape(id), &j, c.query(ctx, token, namespace)); err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", id, translate(err))
	}
	return j.export(), nil
}

// Jobs lists the jobs that keep accepts, out of all that the token may list in namespace
// ("*" is all), and the index of the list. Nomad silently leaves out jobs that the token
// may not read.
func (c *Client) Jobs(ctx context.Context, token, namespace string, keep func(namespace, id string, meta map[string]string) bool) ([]Job, uint64, error) {
	var all []job
	qm, err := c.api().Raw().Query("/v1/jobs?meta=true", &all, c.query(ctx, token, namespace))
	if err != nil {
		return nil, 0, fmt.Errorf("list jobs: %w", translate(err))
	}
	var kept []job
	for _, j := range all {
		if keep(j.Namespace, j.ID, j.Meta) {
			kept = append(kept, j)
		}
	}
	// The list has no counts, and Nomad's statuses list omits jobs that changed at the
	// same index, so each job is read.
	out := make([]Job, len(kept))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxConns / 2)
	for i, j := range kept {
		g.Go(func() error {
			got, err := c.Job(ctx, token, j.Namespace, j.ID)
			if errors.Is(err, wadi.ErrNotFound) {
				return nil // Purged in the meantime; its event will follow.
			}
			out[i] = got
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	return withoutZero(out), qm.LastIndex, nil
}

// withoutZero drops the zero jobs.
func withoutZero(all []Job) []Job {
	var out []Job
	for _, j := range all {
		if j.ID != "" {
			out = append(out, j)
		}
	}
	return out
}

// ParseJob makes Nomad parse a job's HCL, with the content of a variables file. The token
// needs rights in namespace. It returns the job's JSON as Nomad wrote it, not
// canonicalised; a *ParseError if Nomad refuses the HCL.
func (c *Client) ParseJob(ctx context.Context, token, namespace, hcl, variables string) ([]byte, error) {
	req := struct {
		JobHCL, Variables string
		Canonicalize      bool
	}{JobHCL: hcl, Variables: variables}
	var out json.RawMessage
	_, err := c.api().Raw().Write("/v1/jobs/parse", req, &out, c.write(ctx, token, namespace))
	if code, body, ok := response(err); ok && code == http.StatusBadRequest {
		return nil, &ParseError{Text: secrets.Text(body)}
	}
	if err != nil {
		return nil, fmt.Errorf("parse job: %w", translate(err))
	}
	return out, nil
}

// Register submits a job with the given count, if the job in Nomad still has the given job
// modify index (0: there is none); otherwise it returns ErrConflict. It returns the new
// job modify index.
func (c *Client) Register(ctx context.Context, token string, job json.RawMessage, count int, index uint64) (uint64, error) {
	job, err := WithCount(job, count)
	if err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	return c.RegisterAt(ctx, token, job, index)
}

// RegisterAt submits a job with its own count, if the job in Nomad still has the given job
// modify index (0: there is none); otherwise it returns ErrConflict. It returns the new
// job modify index.
func (c *Client) RegisterAt(ctx context.Context, token string, job json.RawMessage, index uint64) (uint64, error) {
	id, namespace, err := identity(job)
	if err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	req := struct {
		Job            json.RawMessage
		EnforceIndex   bool
		JobModifyIndex uint64
	}{job, true, index}
	var out struct{ JobModifyIndex uint64 }
	if _, err := c.api().Raw().Write("/v1/jobs", req, &out, c.write(ctx, token, namespace)); err != nil {
		return 0, fmt.Errorf("register job %s: %w", id, invalid(err))
	}
	return out.JobModifyIndex, nil
}

// invalid translates err where Nomad may also complain about the job: such an answer is
// 500 and begins with a number of errors, or is 400.
func invalid(err error) error {
	code, body, ok := response(err)
	if ok && sentinel(code, body) == nil && (code == http.StatusBadRequest || code == http.StatusInternalServerError) {
		return &InvalidError{Text: secrets.Text(body)}
	}
	return translate(err)
}

// Scale sets the count of a revision's job, if it still has the given job modify index (0:
// any). Message and meta appear in Nomad's scaling history.
func (c *Client) Scale(ctx context.Context, namespace, id string, count int, index uint64, message string, meta map[string]any) (newIndex uint64, evalID string, err error) {
	req := struct {
		Count          int
		Target         map[string]string
		Message        string         `json:",omitempty"`
		Meta           map[string]any `json:",omitempty"`
		JobModifyIndex uint64         `json:",omitempty"`
	}{count, map[string]string{"Group": wadi.GroupInstance}, message, meta, index}
	var out struct {
		JobModifyIndex uint64
		EvalID         string
	}
	path := "/v1/job/" + url.PathEscape(id) + "/scale"
	if _, err := c.api().Raw().Write(path, req, &out, c.write(ctx, c.Token(), namespace)); err != nil {
		return 0, "", fmt.Errorf("scale job %s to %d: %w", id, count, translate(err))
	}
	return out.JobModifyIndex, out.EvalID, nil
}

// Note adds a message to the scaling history of a revision's job, and changes nothing: neither
// the job nor its indexes. Nomad keeps the last 20 entries.
func (c *Client) Note(ctx context.Context, namespace, id, message string, meta map[string]any) error {
	req := map[string]any{"Target": map[string]string{"Group": wadi.GroupInstance}, "Message": message, "Meta": meta}
	var out struct{ JobModifyIndex uint64 }
	path := "/v1/job/" + url.PathEscape(id) + "/scale"
	if _, err := c.api().Raw().Write(path, req, &out, c.write(ctx, c.Token(), namespace)); err != nil {
		return fmt.Errorf("note in the scaling history of %s: %w", id, translate(err))
	}
	return nil
}

// Evaluate makes Nomad evaluate a job again; with forceReschedule also allocations that it
// has given up.
func (c *Client) Evaluate(ctx context.Context, namespace, id string, forceReschedule bool) error {
	req := map[string]any{"JobID": id, "EvalOptions": map[string]bool{"ForceReschedule": forceReschedule}}
	var out struct{ EvalID string }
	path := "/v1/job/" + url.PathEscape(id) + "/evaluate"
	if _, err := c.api().Raw().Write(path, req, &out, c.write(ctx, c.Token(), namespace)); err != nil {
		return fmt.Errorf("evaluate job %s: %w", id, translate(err))
	}
	return nil
}

// Stop stops a job, which stays in Nomad's list. It is no error if there is no such job.
func (c *Client) Stop(ctx context.Context, token, namespace, id string) error {
	return c.deregister(ctx, token, namespace, id, false)
}

// Purge stops and removes a job. It is no error if there is no such job. Its instances end
// as in a stop, but Nomad forgets them with the job: a caller that must know when they
// have ended stops the job or scales it to zero first.
func (c *Client) Purge(ctx context.Context, token, namespace, id string) error {
	return c.deregister(ctx, token, namespace, id, true)
}

func (c *Client) deregister(ctx context.Context, token, namespace, id string, purge bool) error {
	path := fmt.Sprintf("/v1/job/%s?purge=%t", url.PathEscape(id), purge)
	var out struct{ EvalID string }
	_, err := c.api().Raw().Delete(path, &out, c.write(ctx, token, namespace))
	if err = translate(err); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("stop job %s: %w", id, err)
	}
	return nil
}
