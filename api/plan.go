package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/wadi-run/wadi"
)

// Plan is the answer of POST /v1/services/plan: what a submission would change. The body
// of the request is a [Submission].
type Plan struct {
	Services []ServicePlan  `json:"services"`
	Changed  bool           `json:"changed"` // Any service would change.
	Warnings []wadi.Problem `json:"warnings,omitempty"`
}

// ServicePlan is what a submission would change of one service.
type ServicePlan struct {
	Name        string   `json:"name"`
	Namespace   string   `json:"namespace"`
	Index       uint64   `json:"index"`             // The present one, for CheckIndex; 0: a new service.
	Changed     bool     `json:"changed"`           // False: all stays as it is stored.
	Revision    string   `json:"revision"`          // The newest after the submission.
	NewRevision bool     `json:"new_revision"`      // The submission would make it.
	Because     []string `json:"because,omitempty"` // Settings that make the new revision.
	Retried     []string `json:"retried,omitempty"` // Revisions that had failed and would be tried again.

	Service  wadi.Service     `json:"service"`            // As it would be stored, with every default; without likely secrets.
	Settings []wadi.Change    `json:"settings,omitempty"` // By their names in HCL; those of the instance are in Job.
	Job      *JobPlan         `json:"job,omitempty"`      // Null: no new job, or Nomad plans none for the token.
	Consul   []wadi.Change    `json:"consul,omitempty"`   // Config entries, once the revision is ready.
	Traffic  []PlannedTraffic `json:"traffic,omitempty"`  // Once the revision is ready.
	Warnings []string         `json:"warnings,omitempty"`

	Moved []wadi.MovedImage `json:"moved,omitempty"` // Images whose tags mean another digest than in the revision before.
}

// JobPlan is what Nomad says of a new revision's job.
type JobPlan struct {
	Base     string      `json:"base,omitempty"` // The revision with whose job Nomad compared it; empty: with none.
	Diff     wadi.Change `json:"diff"`
	Count    int         `json:"count"`              // Instances of the scheduler's dry run.
	Unplaced string      `json:"unplaced,omitempty"` // Why Nomad could not place all of them now; empty: it could.
}

// PlannedTraffic is the traffic of one revision, or of one tag of it, before and after.
type PlannedTraffic struct {
	Revision string          `json:"revision"`
	Tag      string          `json:"tag,omitempty"`
	Kind     wadi.ChangeKind `json:"kind"`
	Before   float64         `json:"before"` // Percent.
	After    float64         `json:"after"`  // Percent.
}

// Plan says what Apply would change, and changes nothing.
func (c *Client) Plan(ctx context.Context, s Submission) (Plan, error) {
	return call[Plan](ctx, c, http.MethodPost, "/v1/services/plan", nil, s)
}

// Load returns the load of a service's last day by minute.
func (c *Client) Load(ctx context.Context, service string) (wadi.LoadHistory, error) {
	return call[wadi.LoadHistory](ctx, c, http.MethodGet, "/v1/service/"+url.PathEscape(service)+"/load", nil, nil)
}
