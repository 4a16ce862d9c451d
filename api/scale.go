package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/wadi-run/wadi"
)

// Override has a service keep a count of instances for a time, whatever its load. An
// empty revision is whichever has most of the traffic.
func (c *Client) Override(ctx context.Context, service, revision string, count int, d time.Duration) (Scaled, error) {
	body := Scale{Count: &count, For: wadi.Duration(d), Revision: revision}
	return call[Scaled](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/scale", nil, body)
}

// ClearOverride ends an override.
func (c *Client) ClearOverride(ctx context.Context, service, revision string) (Scaled, error) {
	body := Scale{Revision: revision}
	return call[Scaled](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/scale", nil, body)
}
