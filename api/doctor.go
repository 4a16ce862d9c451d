package api

import (
	"context"
	"net/http"
)

// Doctor has all agents look at themselves.
func (c *Client) Doctor(ctx context.Context) (Doctor, error) {
	return call[Doctor](ctx, c, http.MethodGet, "/v1/doctor", nil, nil)
}
