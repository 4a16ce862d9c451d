package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
)

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

// SetTraffic sets all traffic targets of a service.
func (c *Client) SetTraffic(ctx context.Context, service string, t Traffic) (TrafficSet, error) {
	return call[TrafficSet](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/traffic", nil, t)
}

// Rollback gives the traffic of a service to an earlier revision, or aborts the rollout that
// is under way.
func (c *Client) Rollback(ctx context.Context, service string, r Rollback) (TrafficSet, error) {
	return call[TrafficSet](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/rollback", nil, r)
}

// OrderRollout pauses, resumes or aborts the rollout that is under way.
func (c *Client) OrderRollout(ctx context.Context, service string, o RolloutOrder) (RolloutOrdered, error) {
	return call[RolloutOrdered](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/rollout", nil, o)
}

// CheckRollout compares what the revisions of a service have answered in the time up to now; 0:
// ten minutes.
func (c *Client) CheckRollout(ctx context.Context, service string, since time.Duration) (RolloutCheck, error) {
	query := url.Values{}
	if since > 0 {
		query.Set("since", since.String())
	}
	return call[RolloutCheck](ctx, c, http.MethodGet, "/v1/service/"+url.PathEscape(service)+"/rollout/check", query, nil)
}

// Revisions lists the revisions of a service, newest first.
func (c *Client) Revisions(ctx context.Context, service string) ([]Revision, error) {
	return call[[]Revision](ctx, c, http.MethodGet, "/v1/service/"+url.PathEscape(service)+"/revisions", nil, nil)
}

// Revision returns one revision with its spec and its job.
func (c *Client) Revision(ctx context.Context, id string) (wadi.Revision, error) {
	return call[wadi.Revision](ctx, c, http.MethodGet, "/v1/revision/"+url.PathEscape(id), nil, nil)
}

// DeleteRevision has a revision removed that has no traffic and no tag, and waits until it is
// gone, but not longer than wait.
func (c *Client) DeleteRevision(ctx context.Context, id string, wait time.Duration) (Deletion, error) {
	query := url.Values{}
	if wait > 0 {
		query.Set("wait", wait.String())
	}
	return call[Deletion](ctx, c, http.MethodDelete, "/v1/revision/"+url.PathEscape(id), query, nil)
}

// Pin keeps a revision from retention until Unpin.
func (c *Client) Pin(ctx context.Context, id string) (Pin, error) {
	return call[Pin](ctx, c, http.MethodPut, "/v1/revision/"+url.PathEscape(id)+"/pin", nil, nil)
}

// Unpin gives a revision back to retention.
func (c *Client) Unpin(ctx context.Context, id string) (Pin, error) {
	return call[Pin](ctx, c, http.MethodDelete, "/v1/revision/"+url.PathEscape(id)+"/pin", nil, nil)
}

// Decisions returns the last scaling decisions about a service, oldest first.
func (c *Client) Decisions(ctx context.Context, service string) ([]wadi.Decision, error) {
	return call[[]wadi.Decision](ctx, c, http.MethodGet, "/v1/service/"+url.PathEscape(service)+"/decisions", nil, nil)
}
