package nomad

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// Plan is the result of a dry run of a registration.
type Plan struct {
	JobModifyIndex uint64 // Of the present job; 0 if there is none.
	Changed        bool   // The job differs from the one in Nomad. Only known with a diff.
	Warnings       string
	Diff           *api.JobDiff // Nil without a diff.

	// FailedPlacements is why instances could not be placed; empty if all could.
	FailedPlacements string
}

// PlanJob asks Nomad what a registration of job would do. Nomad validates the job (the
// error is an *InvalidError if it is wrong), and requires the right to submit it.
func (c *Client) PlanJob(ctx context.Context, token string, job json.RawMessage, diff bool) (Plan, error) {
	id, namespace, err := identity(job)
	if err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	req := struct {
		Job  json.RawMessage
		Diff bool
	}{job, diff}
	var out api.JobPlanResponse
	path := "/v1/job/" + url.PathEscape(id) + "/plan"
	if _, err := c.api.Raw().Write(path, req, &out, c.write(ctx, token, namespace)); err != nil {
		return Plan{}, fmt.Errorf("plan job %s: %w", id, invalid(err))
	}
	return Plan{
		JobModifyIndex:   out.JobModifyIndex,
		Changed:          out.Diff != nil && jobDiffers(out.Diff),
		Warnings:         strings.TrimSpace(out.Warnings),
		Diff:             out.Diff,
		FailedPlacements: placementReason(out.FailedTGAllocs),
	}, nil
}

// Nomad calls a job edited when only settings that it filled in itself differ: the scaling
// block then is an edited object without an edited field. So the leaves decide, not the
// top.

func jobDiffers(d *api.JobDiff) bool {
	return d.Type == "Added" || d.Type == "Deleted" || fieldsDiffer(d.Fields) || objectsDiffer(d.Objects) ||
		slices.ContainsFunc(d.TaskGroups, groupDiffers)
}

func groupDiffers(d *api.TaskGroupDiff) bool {
	return d.Type == "Added" || d.Type == "Deleted" || fieldsDiffer(d.Fields) || objectsDiffer(d.Objects) ||
		slices.ContainsFunc(d.Tasks, func(t *api.TaskDiff) bool {
			return t.Type == "Added" || t.Type == "Deleted" || fieldsDiffer(t.Fields) || objectsDiffer(t.Objects)
		})
}

func objectsDiffer(all []*api.ObjectDiff) bool {
	return slices.ContainsFunc(all, func(o *api.ObjectDiff) bool {
		return o.Type == "Added" || o.Type == "Deleted" || fieldsDiffer(o.Fields) || objectsDiffer(o.Objects)
	})
}

func fieldsDiffer(all []*api.FieldDiff) bool {
	return slices.ContainsFunc(all, func(f *api.FieldDiff) bool { return f.Type != "None" })
}
