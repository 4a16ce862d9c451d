package nomad

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// Plan is the result of a dry run of a registration.
type Plan struct {
	JobModifyIndex uint64 // Of the present job; 0 if there is none.
	Changed        bool   // The job differs from the one in Nomad. Only known with a diff.
	Warnings       string
	Diff           wadi.Change // Of the kind none without a diff.
	Placed         int         // Instances that Nomad would place.

	// Unknown: Nomad validated the job and judged the right to submit it, and then planned
	// nothing, as the token is a workload's identity. Everything else is empty.
	Unknown bool

	// FailedPlacements is why instances could not be placed; empty if all could.
	FailedPlacements string
}

// PlanJob asks Nomad what a registration of job would do. Nomad validates the job (the
// error is an *InvalidError if it is wrong), and requires the right to submit it. For a
// workload's identity the plan is Unknown.
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
	if _, err := c.api().Raw().Write(path, req, &out, c.write(ctx, token, namespace)); plansNoIdentity(token, err) {
		return Plan{Unknown: true}, nil
	} else if err != nil {
		return Plan{}, fmt.Errorf("plan job %s: %w", id, invalid(err))
	}
	diffs := changeOf(out.Diff)
	return Plan{
		JobModifyIndex:   out.JobModifyIndex,
		Changed:          diffs.Kind != wadi.ChangeNone,
		Warnings:         strings.TrimSpace(out.Warnings),
		Diff:             diffs,
		Placed:           placed(out.Annotations),
		FailedPlacements: placementReason(out.FailedTGAllocs),
	}, nil
}

// plansNoIdentity reports whether Nomad failed to plan because the token is a workload's
// identity. Nomad (seen in 1.11.3) judges its rights, and then looks it up among the stored
// tokens, for the policies of its Enterprise version.
func plansNoIdentity(token string, err error) bool {
	_, body, ok := response(err)
	return ok && !isSecret(token) && strings.HasPrefix(body, "acl token lookup failed: ") // Not in the text of a mistake in the job.
}

// Edited reports whether the registration that a job was given at index changed it. It is
// for jobs of which there was no plan: Nomad counts a job with a scaling block as changed
// whenever it is registered.
func (c *Client) Edited(ctx context.Context, token, namespace, id string, index uint64) (bool, error) {
	var out struct {
		Versions []struct{ JobModifyIndex uint64 } // Newest first.
		Diffs    []*api.JobDiff                    // Each version's to the next of the list.
	}
	path := "/v1/job/" + url.PathEscape(id) + "/versions?diffs=true"
	if _, err := c.api().Raw().Query(path, &out, c.query(ctx, token, namespace)); err != nil {
		return false, fmt.Errorf("read versions of job %s: %w", id, translate(err))
	}
	for i, v := range out.Versions {
		if v.JobModifyIndex == index {
			return i >= len(out.Diffs) || out.Diffs[i] == nil || changeOf(out.Diffs[i]).Kind != wadi.ChangeNone, nil
		}
	}
	return false, nil // There is no version of it: Nomad kept the one before.
}

// placed is how many instances of the group a plan places.
func placed(a *api.PlanAnnotations) int {
	if a == nil || a.DesiredTGUpdates[wadi.GroupInstance] == nil {
		return 0
	}
	return int(a.DesiredTGUpdates[wadi.GroupInstance].Place)
}
