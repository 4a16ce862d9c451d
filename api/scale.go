package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/wadi-run/wadi"
)

// Hold has a service keep a count of instances for a time, whatever its load. An
// empty revision is whichever has most of the traffic.
func (c *Client) Hold(ctx context.Context, service, revision string, count int, d time.Duration) (Held, error) {
	body := Scale{Count: &count, For: wadi.Duration(d), Revision: revision}
	return call[Held](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/scale", nil, body)
}

// Release ends a hold.
func (c *Client) Release(ctx context.Context, service, revision string) (Held, error) {
	body := Scale{Revision: revision}
	return call[Held](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/scale", nil, body)
}
