package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
)

// File is one file of a submission.
type File struct {
	Name   string `json:"name"` // As messages name it.
	Source string `json:"source"`
}

// Submission is what Apply and Validate send.
type Submission struct {
	Files     []File            `json:"files"`
	Variables map[string]string `json:"variables,omitempty"`

	// CheckIndex holds, for the services it names, the index that must be
	// stored; 0: the service must not exist.
	CheckIndex map[string]uint64 `json:"check_index,omitempty"`
}

// Submitted says what a submission did.
type Submitted struct {
	Services []SubmittedService `json:"services"`
	Warnings []Detail           `json:"warnings,omitempty"`
}

// SubmittedService is the outcome for one service.
type SubmittedService struct {
	Name        string   `json:"name"`
	Index       uint64   `json:"index"`
	Generation  uint64   `json:"generation"`
	Revision    string   `json:"revision"`          // The newest.
	NewRevision bool     `json:"new_revision"`      // Made by this submission.
	Changed     bool     `json:"changed"`           // False: all is as it was stored before.
	Retried     []string `json:"retried,omitempty"` // Revisions that had failed and are tried again.
	Warnings    []string `json:"warnings,omitempty"`
}

// ServiceSummary is a line of the list of services.
type ServiceSummary struct {
	Name       string              `json:"name"`
	Namespace  string              `json:"namespace"`
	Phase      string              `json:"phase"`
	URL        string              `json:"url,omitempty"`
	Latest     string              `json:"latest"`            // ID of the newest revision.
	Traffic    []wadi.TargetStatus `json:"traffic,omitempty"` // Where requests go now.
	Generation uint64              `json:"generation"`
	Index      uint64              `json:"index"`
	Submitted  int64               `json:"submitted"` // Unix seconds.
}

// Service is all that is known about one service.
type Service struct {
	Service    wadi.Service      `json:"service"` // With every default.
	Index      uint64            `json:"index"`   // For CheckIndex.
	Generation uint64            `json:"generation"`
	Phase      string            `json:"phase"` // pending until a leader has looked at this generation.
	Latest     string            `json:"latest"`
	Deleting   bool              `json:"deleting,omitempty"`
	Submitted  int64             `json:"submitted"` // Unix seconds.
	File       string            `json:"file"`
	Source     string            `json:"source"`
	Variables  map[string]string `json:"variables,omitempty"`
	Status     wadi.Status       `json:"status"`
	Route      *wadi.Route       `json:"route,omitempty"`

	// Holds are the counts that are held now, by revision; "" is the one that has
	// most of the traffic.
	Holds map[string]wadi.Hold `json:"holds,omitempty"`
}

// Revision is a line of the list of a service's revisions.
type Revision struct {
	ID       string     `json:"id"`
	Number   int        `json:"number"`
	Created  int64      `json:"created"` // Unix seconds.
	SpecHash string     `json:"spec_hash"`
	Phase    wadi.Phase `json:"phase"`
	Reason   string     `json:"reason,omitempty"`
	Percent  float64    `json:"percent"` // Of the service's traffic.
}

// Deletion says how far a deletion is.
type Deletion struct {
	Name     string `json:"name"`
	Deleting bool   `json:"deleting"` // Marked, and not gone yet.
	Gone     bool   `json:"gone"`
}

// Apply submits services, all or nothing.
func (c *Client) Apply(ctx context.Context, s Submission) (Submitted, error) {
	return call[Submitted](ctx, c, http.MethodPut, "/v1/services", nil, s)
}

// Validate does all that Apply does, short of storing anything.
func (c *Client) Validate(ctx context.Context, s Submission) (Submitted, error) {
	return call[Submitted](ctx, c, http.MethodPost, "/v1/services/validate", nil, s)
}

// Services lists the services that the token may read.
func (c *Client) Services(ctx context.Context) ([]ServiceSummary, error) {
	return call[[]ServiceSummary](ctx, c, http.MethodGet, "/v1/services", nil, nil)
}

// Service returns one service.
func (c *Client) Service(ctx context.Context, name string) (Service, error) {
	return call[Service](ctx, c, http.MethodGet, "/v1/service/"+url.PathEscape(name), nil, nil)
}

// Delete marks a service for deletion and waits until it is gone, but not longer
// than wait. A service is only deleted at index, unless that is 0.
func (c *Client) Delete(ctx context.Context, name string, index uint64, wait time.Duration) (Deletion, error) {
	query := url.Values{}
	if index > 0 {
		query.Set("index", strconv.FormatUint(index, 10))
	}
	if wait > 0 {
		query.Set("wait", wait.String())
	}
	return call[Deletion](ctx, c, http.MethodDelete, "/v1/service/"+url.PathEscape(name), query, nil)
}

// Revisions lists the revisions of a service, newest first.
func (c *Client) Revisions(ctx context.Context, service string) ([]Revision, error) {
	return call[[]Revision](ctx, c, http.MethodGet, "/v1/service/"+url.PathEscape(service)+"/revisions", nil, nil)
}

// Revision returns one revision with its spec and its job.
func (c *Client) Revision(ctx context.Context, id string) (wadi.Revision, error) {
	return call[wadi.Revision](ctx, c, http.MethodGet, "/v1/revision/"+url.PathEscape(id), nil, nil)
}

// Decisions returns the last scaling decisions about a service, oldest first.
func (c *Client) Decisions(ctx context.Context, service string) ([]wadi.Decision, error) {
	return call[[]wadi.Decision](ctx, c, http.MethodGet, "/v1/service/"+url.PathEscape(service)+"/decisions", nil, nil)
}
